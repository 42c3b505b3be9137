"""POST /v1/chat/completions: the body."""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.common.errors import InvalidField
from services.common.limits import Limits
from services.gateway.call.generation import ChatPrompt, Generation, ToolUse
from services.gateway.rest.openai.fields import (
    GenerationFields,
    common_of,
    sampling_of,
)
from services.gateway.rest.openai.json_body import decode_json
from services.gateway.rest.openai.messages import Message, template_messages
from services.gateway.rest.openai.ranges import ALTERNATIVES_MAX, within
from services.gateway.rest.openai.refused import Refused, refuse_unsupported
from services.gateway.rest.openai.tools import NamedTool, Tool, tool_use_of
from services.gateway.rest.openai.unsupported import UNSUPPORTED

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


class ChatBody(GenerationFields, kw_only=True):
    """The whole body."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    tools: list[Tool] | None = None
    tool_choice: str | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    include_reasoning: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    documents: list[dict[str, str]] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None

    functions: Any = None
    function_call: Any = None
    modalities: Any = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None
    chat_template: Any = None
    echo: Any = None
    add_special_tokens: Any = None


REFUSED: Refused = {
    **UNSUPPORTED,
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
    "chat_template": (None,),
    "echo": (None, False),
    "add_special_tokens": (None, False),
}
"""Chat templates write special tokens themselves."""

_decoder = msgspec.json.Decoder(ChatBody)


def parse_chat(body: bytes, limits: Limits) -> Generation:
    """The call of a body; raises `InvalidField`."""
    fields = decode_json(body, _decoder, limits)
    refuse_unsupported(fields, REFUSED)
    max_tokens, max_tokens_field = fields.max_tokens, "max_tokens"
    if fields.max_completion_tokens is not None:
        max_tokens, max_tokens_field = fields.max_completion_tokens, "max_completion_tokens"
    in_parallel = fields.parallel_tool_calls is not False
    tools = tool_use_of(fields.tools, fields.tool_choice, in_parallel=in_parallel)
    return Generation(
        **common_of(fields, body, limits),
        prompts=(chat_prompt(fields, tools),),
        sampling=sampling_of(
            fields,
            max_tokens,
            max_tokens_field,
            _alternatives(fields),
            tools=tools,
        ),
        max_tokens_field=max_tokens_field,
        tools=tools,
        includes_reasoning=fields.include_reasoning is not False,
    )


def chat_prompt(fields: ChatBody, tools: ToolUse | None) -> ChatPrompt:
    """The conversation and what its template is told; raises `InvalidField`."""
    continues_last = bool(fields.continue_final_message)
    if continues_last and fields.add_generation_prompt:
        raise InvalidField(
            "continue_final_message: contradicts add_generation_prompt", field="continue_final_message"
        )
    variables = {
        **(fields.chat_template_kwargs or {}),
        **reasoning_variables(fields.reasoning_effort, fields.chat_template_kwargs),
        "tools": tools.tools if tools is not None else None,
        "documents": fields.documents,
        "add_generation_prompt": fields.add_generation_prompt is not False and not continues_last,
    }
    return ChatPrompt(template_messages(fields.messages), variables, continues_last)


def reasoning_variables(effort: str | None, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Variables for the effort; templates that know only on and off are told that, unless it is given."""
    if effort is None:
        return {}
    if effort not in EFFORTS:
        raise InvalidField(f"reasoning_effort: must be one of {', '.join(EFFORTS)}", field="reasoning_effort")
    made: dict[str, Any] = {"reasoning_effort": effort}
    if "enable_thinking" not in (given or {}):
        made["enable_thinking"] = effort != "none"
    return made


def _alternatives(fields: ChatBody) -> int | None:
    """How many likely tokens to report beside each token; `None` is no logprobs at all."""
    within("top_logprobs", fields.top_logprobs, 0, ALTERNATIVES_MAX)
    if not fields.logprobs:
        if fields.top_logprobs:
            raise InvalidField("top_logprobs: needs logprobs to be true", field="top_logprobs")
        return None
    return fields.top_logprobs or 0
