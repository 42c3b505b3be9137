"""POST /v1/responses: the body."""

from collections.abc import Sequence
from typing import Any

import msgspec

from services.common.errors import InvalidField
from services.common.limits import Limits
from services.gateway.call.edits import Edit
from services.gateway.call.generation import ChatPrompt, Generation, ToolUse
from services.gateway.call.renamed import renamed
from services.gateway.rest.openai.chat import reasoning_variables
from services.gateway.rest.openai.fields import (
    GenerationFields,
    common_of,
    sampling_of,
)
from services.gateway.rest.openai.json_body import decode_json
from services.gateway.rest.openai.ranges import ALTERNATIVES_MAX, within
from services.gateway.rest.openai.refused import refuse_unsupported
from services.gateway.rest.openai.structured import JsonSchema, ResponseFormat
from services.gateway.rest.openai.unsupported import UNSUPPORTED
from services.gateway.rest.responses.asked import Asked
from services.gateway.rest.responses.items import Item, items_of, template_messages
from services.gateway.rest.responses.tools import Offer, ResponsesTool, ResponsesToolChoice, offer_of
from services.gateway.rest.responses.truncate import Truncate

LOGPROBS = "message.output_text.logprobs"
CARRIED = "reasoning.encrypted_content"
METADATA_MAX = 16
METADATA_NAME_CHARS_MAX = 64
METADATA_VALUE_CHARS_MAX = 512


class TextFormat(msgspec.Struct):
    """`text.format`."""

    type: str
    name: str | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class Text(msgspec.Struct):
    """`text`."""

    format: TextFormat | None = None
    verbosity: str | None = None


class Reasoning(msgspec.Struct):
    """`reasoning`."""

    effort: str | None = None
    summary: str | None = None


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
    metadata: dict[str, str] | None = None
    max_tool_calls: int | None = None
    safety_identifier: str | None = None
    store: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    previous_response_id: str | None = None
    conversation: Any = None
    background: Any = None
    prompt: Any = None


_UNSUPPORTED = {
    **UNSUPPORTED,
    "n": (None, 1),
    "max_tokens": (None,),
    "response_format": (None,),
    "background": (None, False),
    "conversation": (None,),
    "prompt": (None,),
    "return_token_ids": (None, False),
}
_NAMES = {
    "response_format.json_schema.schema": "text.format.schema",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
}
_decoder = msgspec.json.Decoder(ResponsesBody)


def parse_responses(body: bytes, limits: Limits, *, before: Sequence[Item] = ()) -> Generation:
    """The call of a body; raises `InvalidField`. `before` is what `previous_response_id` goes on from."""
    fields = decode_json(body, _decoder, limits)
    refuse_unsupported(fields, _UNSUPPORTED)
    in_parallel = fields.parallel_tool_calls is not False
    with renamed(_NAMES):
        offer = offer_of(fields.tools or (), fields.tool_choice, in_parallel=in_parallel)
        tools = offer.use
        given = items_of(fields.input)
        shaped = msgspec.structs.replace(fields, response_format=_format(fields.text))
        return Generation(
            **common_of(shaped, body, limits, _NAMES),
            prompts=(_prompt(fields, tools, before, given),),
            sampling=sampling_of(
                shaped,
                fields.max_output_tokens,
                "max_output_tokens",
                _alternatives(fields),
                tools=tools,
            ),
            max_tokens_field="max_output_tokens",
            tools=tools,
            asked=Asked(
                caller_tools=offer.caller_tools,
                carries_reasoning=CARRIED in (fields.include or ()),
                repeated=repeated(fields, offer),
                is_stored=fields.store is not False,
                conversation=[*before, *given] if fields.store is not False else (),
            ),
        )


def parse_prompt(body: bytes, limits: Limits, *, before: Sequence[Item] = ()) -> tuple[str, ChatPrompt]:
    """Model and prompt of a body whose tokens are to be counted; raises `InvalidField`."""
    fields = decode_json(body, _decoder, limits)
    with renamed(_NAMES):
        offer = offer_of(fields.tools or (), fields.tool_choice, in_parallel=True)
        return fields.model or "", _prompt(fields, offer.use, before, items_of(fields.input))


def _format(text: Text | None) -> ResponseFormat | None:
    if text is None or text.format is None:
        return None
    asked = text.format
    return ResponseFormat(asked.type, JsonSchema(asked.name or "", asked.schema))


def _prompt(
    fields: ResponsesBody, tools: ToolUse | None, before: Sequence[Item], given: Sequence[Item]
) -> ChatPrompt:
    effort = fields.reasoning.effort if fields.reasoning is not None else None
    variables = {
        **(fields.chat_template_kwargs or {}),
        **reasoning_variables(effort, fields.chat_template_kwargs),
        "tools": tools.tools if tools is not None else None,
    }
    messages = template_messages(fields.instructions, before, given)
    return ChatPrompt(messages, variables, field_name="input", edits=_edits(fields.truncation))


def _edits(truncation: str | None) -> tuple[Edit, ...]:
    if truncation not in (None, "auto", "disabled"):
        raise InvalidField("truncation: must be auto or disabled", field="truncation")
    return (Truncate(),) if truncation == "auto" else ()


def _alternatives(fields: ResponsesBody) -> int | None:
    """How many likely tokens to report beside each token; `None` is no logprobs at all."""
    within("top_logprobs", fields.top_logprobs, 0, ALTERNATIVES_MAX)
    if LOGPROBS in (fields.include or ()) or fields.top_logprobs:
        return fields.top_logprobs or 0
    return None


def repeated(fields: ResponsesBody, offer: Offer) -> dict[str, Any]:
    """What the answer says again, as it holds for the answer: with what an absent field means."""
    return {
        "background": False,
        "frequency_penalty": fields.frequency_penalty or 0.0,
        "instructions": fields.instructions,
        "max_output_tokens": fields.max_output_tokens,
        "max_tool_calls": fields.max_tool_calls,
        "metadata": _metadata(fields.metadata or {}),
        "parallel_tool_calls": fields.parallel_tool_calls is not False,
        "presence_penalty": fields.presence_penalty or 0.0,
        "previous_response_id": fields.previous_response_id,
        "prompt_cache_key": fields.prompt_cache_key,
        "reasoning": _given(fields.reasoning or Reasoning()),
        "safety_identifier": fields.safety_identifier,
        "store": fields.store is not False,
        "temperature": 1.0 if fields.temperature is None else fields.temperature,
        "text": {
            "format": _given(fields.text.format) if fields.text and fields.text.format else {"type": "text"},
            "verbosity": (fields.text.verbosity if fields.text else None) or "medium",
        },
        "tool_choice": offer.shown_choice,
        "tools": offer.shown,
        "top_logprobs": fields.top_logprobs or 0,
        "top_p": 1.0 if fields.top_p is None else fields.top_p,
        "truncation": fields.truncation or "disabled",
        "user": fields.user,
    }


def _given(fields: msgspec.Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(fields)


def _metadata(metadata: dict[str, str]) -> dict[str, str]:
    if len(metadata) > METADATA_MAX:
        raise InvalidField(f"metadata: at most {METADATA_MAX} entries", field="metadata")
    for name, value in metadata.items():
        if len(name) > METADATA_NAME_CHARS_MAX or len(value) > METADATA_VALUE_CHARS_MAX:
            raise InvalidField(
                f"metadata: names have at most {METADATA_NAME_CHARS_MAX} characters, "
                f"values {METADATA_VALUE_CHARS_MAX}",
                field="metadata",
            )
    return metadata
