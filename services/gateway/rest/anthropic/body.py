"""POST /v1/messages and /v1/messages/count_tokens: the bodies."""

from typing import Any

import msgspec

from services.common.errors import InvalidField
from services.common.limits import Limits
from services.gateway.call.generation import ChatPrompt, Generation, ToolUse
from services.gateway.call.renamed import renamed
from services.gateway.rest.anthropic.asked import Asked
from services.gateway.rest.anthropic.block import Block
from services.gateway.rest.anthropic.context_management import ContextManagement, applied_edits, edits_of
from services.gateway.rest.anthropic.messages import InputMessage, template_messages
from services.gateway.rest.anthropic.tool import MessagesTool
from services.gateway.rest.anthropic.tools import MessagesToolChoice, tools_of
from services.gateway.rest.openai.chat import reasoning_variables
from services.gateway.rest.openai.fields import (
    GenerationFields,
    MeshOptions,
    common_of,
    sampling_of,
)
from services.gateway.rest.openai.json_body import decode_json
from services.gateway.rest.openai.refused import refuse_unsupported
from services.gateway.rest.openai.structured import JsonSchema, ResponseFormat
from services.gateway.retrieval.ask import RetrievalFields

TIERS = (None, "auto", "standard_only")


class Metadata(msgspec.Struct):
    """`metadata`."""

    user_id: str | None = None


class Thinking(msgspec.Struct):
    """`thinking`; a budget is refused where nobody would keep it."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None
    """"omitted" has the client carry the thoughts without showing them."""


class OutputFormat(msgspec.Struct):
    """`output_config.format`."""

    type: str
    schema: dict[str, Any] | None = None


class OutputConfig(msgspec.Struct):
    """`output_config`."""

    effort: str | None = None
    format: OutputFormat | None = None


class CountBody(msgspec.Struct, kw_only=True):
    """What makes the prompt."""

    model: str | None = None
    messages: list[InputMessage]
    system: str | list[Block] | None = None
    tools: list[MessagesTool] | None = None
    tool_choice: MessagesToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    context_management: ContextManagement | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class MessagesBody(CountBody, kw_only=True):
    """The whole body."""

    max_tokens: int
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    metadata: Metadata | None = None
    service_tier: str | None = None
    pdmesh: MeshOptions | None = None
    retrieval: RetrievalFields | None = None

    output_format: OutputFormat | None = None
    """The older name of `output_config.format`."""

    compaction: Any = None
    container: Any = None
    mcp_servers: Any = None
    thread: Any = None


class OriginalCount(msgspec.Struct):
    """What the answer to /v1/messages/count_tokens says of the prompt without edits."""

    original_input_tokens: int


class TokenCount(msgspec.Struct, omit_defaults=True):
    """The answer to /v1/messages/count_tokens."""

    input_tokens: int
    context_management: OriginalCount | None = None


_UNSUPPORTED: dict[str, tuple[object, ...]] = {
    "compaction": (None,),
    "container": (None,),
    "mcp_servers": (None, []),
    "thread": (None,),
}
_NAMES = {
    "stop": "stop_sequences",
    "user": "metadata.user_id",
    "response_format.json_schema.schema": "output_config.format.schema",
    "response_format": "output_config.format",
    "reasoning_effort": "output_config.effort",
    "thinking_token_budget": "thinking.budget_tokens",
}
_messages = msgspec.json.Decoder(MessagesBody)
_count = msgspec.json.Decoder(CountBody)


def parse_messages(body: bytes, limits: Limits) -> Generation:
    """The call of a body; raises `InvalidField`."""
    fields = decode_json(body, _messages, limits)
    refuse_unsupported(fields, _UNSUPPORTED)
    if fields.service_tier not in TIERS:
        raise InvalidField("service_tier: must be auto or standard_only", field="service_tier")
    with renamed(_NAMES):
        tools = tools_of(fields.tools or (), fields.tool_choice, fields.messages)
        shared = _shared(fields)
        return Generation(
            **common_of(shared, body, limits, _NAMES),
            prompts=(_prompt(fields, tools),),
            sampling=sampling_of(
                shared,
                fields.max_tokens,
                "max_tokens",
                None,
                tools=tools,
            ),
            tools=tools,
            thinking_field=_NAMES["thinking_token_budget"],
            includes_reasoning=fields.thinking is None or fields.thinking.type != "disabled",
            asked=Asked(omits_thinking=fields.thinking is not None and fields.thinking.display == "omitted"),
        )


def parse_count(body: bytes, limits: Limits) -> tuple[str, ChatPrompt]:
    """Model and prompt of a body whose tokens are to be counted; raises `InvalidField`."""
    fields = decode_json(body, _count, limits)
    with renamed(_NAMES):
        return fields.model or "", _prompt(
            fields, tools_of(fields.tools or (), fields.tool_choice, fields.messages)
        )


def _shared(fields: MessagesBody) -> GenerationFields:
    """The fields that OpenAI's API has too, under its names."""
    return GenerationFields(
        model=fields.model,
        stream=fields.stream,
        temperature=fields.temperature,
        top_p=fields.top_p,
        top_k=fields.top_k,
        stop=fields.stop_sequences,
        user=fields.metadata.user_id if fields.metadata else None,
        pdmesh=fields.pdmesh,
        retrieval=fields.retrieval,
        response_format=_format(fields),
        thinking_token_budget=_budget(fields.thinking),
    )


def _format(fields: MessagesBody) -> ResponseFormat | None:
    asked, name = fields.output_format, "output_format"
    if fields.output_config is not None and fields.output_config.format is not None:
        asked, name = fields.output_config.format, "output_config.format"
    if asked is None:
        return None
    if asked.type != "json_schema":
        raise InvalidField(f"{name}.type: must be json_schema", field=f"{name}.type")
    if asked.schema is None:
        raise InvalidField(f"{name}.schema: is required", field=f"{name}.schema")
    return ResponseFormat("json_schema", JsonSchema("answer", asked.schema))


def _prompt(fields: CountBody, tools: ToolUse | None) -> ChatPrompt:
    messages = template_messages(fields.system, fields.messages)
    # An answer goes on in the assistant's own last words, where there are any.
    continues_last = messages[-1]["role"] == "assistant" and not messages[-1].get("tool_calls")
    variables = {
        **(fields.chat_template_kwargs or {}),
        **reasoning_variables(_effort(fields), fields.chat_template_kwargs),
        "tools": tools.tools if tools is not None else None,
        "add_generation_prompt": not continues_last,
    }
    return ChatPrompt(
        messages,
        variables,
        continues_last,
        edits=edits_of(fields.context_management),
        report=applied_edits if fields.context_management is not None else None,
    )


def _budget(thinking: Thinking | None) -> int | None:
    """Tokens of reasoning at most; raises `InvalidField` for a budget of something that is off, or open."""
    if thinking is None or thinking.budget_tokens is None:
        return None
    if thinking.type != "enabled":
        name = "thinking.budget_tokens"
        raise InvalidField(f"{name}: only with thinking.type enabled", field=name)
    return thinking.budget_tokens


def _effort(fields: CountBody) -> str | None:
    kind = fields.thinking.type if fields.thinking is not None else "adaptive"
    if kind not in ("enabled", "disabled", "adaptive"):
        raise InvalidField("thinking.type: must be enabled, disabled or adaptive", field="thinking.type")
    if kind == "disabled":
        return "none"
    return fields.output_config.effort if fields.output_config is not None else None
