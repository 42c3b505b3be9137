"""POST /v1/responses: the body."""

from typing import Any

import msgspec

from services.common.errors import InvalidField
from services.common.limits import Limits
from services.gateway.call.generation import ChatPrompt, Generation, ToolUse
from services.gateway.call.renamed import renamed
from services.gateway.rest.openai.chat import reasoning_variables
from services.gateway.rest.openai.fields import (
    UNSUPPORTED,
    GenerationFields,
    common_of,
    refuse_unsupported,
    sampling_of,
)
from services.gateway.rest.openai.json_body import decode_json
from services.gateway.rest.openai.ranges import ALTERNATIVES_MAX, within
from services.gateway.rest.openai.structured import JsonSchema, ResponseFormat
from services.gateway.rest.responses.items import Item, template_messages
from services.gateway.rest.responses.tools import ResponsesTool, ResponsesToolChoice, tools_of

LOGPROBS = "message.output_text.logprobs"


class TextFormat(msgspec.Struct):
    """`text.format`."""

    type: str
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class Text(msgspec.Struct):
    """`text`."""

    format: TextFormat | None = None


class Reasoning(msgspec.Struct):
    """`reasoning`."""

    effort: str | None = None


class ResponsesBody(GenerationFields, kw_only=True):
    """The whole body; what is not of the Responses API are vLLM's extensions and the mesh's."""

    input: str | list[Item]
    instructions: str | None = None
    max_output_tokens: int | None = None
    tools: list[ResponsesTool] | None = None
    tool_choice: str | ResponsesToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    top_logprobs: int | None = None
    truncation: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    previous_response_id: Any = None
    conversation: Any = None
    background: Any = None
    prompt: Any = None


_UNSUPPORTED = UNSUPPORTED | {
    "n": (None, 1),
    "max_tokens": (None,),
    "response_format": (None,),
    "truncation": (None, "disabled"),
    "background": (None, False),
    "prompt": (None,),
    "return_token_ids": (None, False),
}
_STATEFUL = ("previous_response_id", "conversation")
_NAMES = {
    "response_format.json_schema.schema": "text.format.schema",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
}
_decoder = msgspec.json.Decoder(ResponsesBody)


def parse_responses(body: bytes, limits: Limits) -> Generation:
    """The call of a body; raises `InvalidField`."""
    fields = decode_json(body, _decoder, depth_max=limits.json_depth_max)
    refuse_unsupported(fields, _UNSUPPORTED)
    for name in _STATEFUL:
        if getattr(fields, name) is not None:
            raise InvalidField(f"{name}: no answers are stored here; send the whole input", field=name)
    in_parallel = fields.parallel_tool_calls is not False
    with renamed(_NAMES):
        tools = tools_of(fields.tools, fields.tool_choice, in_parallel=in_parallel)
        shaped = msgspec.structs.replace(fields, response_format=_format(fields.text))
        return Generation(
            **common_of(shaped, body, limits),
            prompts=(_prompt(fields, tools),),
            sampling=sampling_of(
                shaped,
                fields.max_output_tokens,
                "max_output_tokens",
                _alternatives(fields),
                tools=tools,
            ),
            max_tokens_field="max_output_tokens",
            tools=tools,
        )


def _format(text: Text | None) -> ResponseFormat | None:
    if text is None or text.format is None:
        return None
    asked = text.format
    return ResponseFormat(asked.type, JsonSchema(asked.name or "", asked.schema))


def _prompt(fields: ResponsesBody, tools: ToolUse | None) -> ChatPrompt:
    effort = fields.reasoning.effort if fields.reasoning is not None else None
    variables = {
        **(fields.chat_template_kwargs or {}),
        **reasoning_variables(effort, fields.chat_template_kwargs),
        "tools": tools.tools if tools is not None else None,
    }
    messages = template_messages(fields.instructions, fields.input)
    return ChatPrompt(messages, variables, field_name="input")


def _alternatives(fields: ResponsesBody) -> int | None:
    """How many likely tokens to report beside each token; `None` is no logprobs at all."""
    within("top_logprobs", fields.top_logprobs, 0, ALTERNATIVES_MAX)
    if LOGPROBS in (fields.include or ()) or fields.top_logprobs:
        return fields.top_logprobs or 0
    return None
