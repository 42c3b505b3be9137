"""POST /v1/chat/completions: the body."""

from typing import Any

import msgspec

from services.common.errors import InvalidField
from services.common.limits import Limits
from services.gateway.openai.fields import (
    UNSUPPORTED,
    GenerationFields,
    refuse_unsupported,
    sampling_of,
    stops_of,
    stream_of,
)
from services.gateway.openai.generation import ChatPrompt, Generation
from services.gateway.openai.json_body import decode_json

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


class Part(msgspec.Struct):
    """One part of a message's content."""

    type: str
    text: str | None = None


class Message(msgspec.Struct):
    """One message of the conversation."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: Any = None
    function_call: Any = None


class ChatBody(GenerationFields, kw_only=True):
    """The whole body."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    top_logprobs: Any = None
    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    function_call: Any = None
    modalities: Any = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None
    documents: Any = None
    chat_template: Any = None
    add_generation_prompt: Any = None
    continue_final_message: Any = None


_UNSUPPORTED = UNSUPPORTED | {
    "top_logprobs": (None, 0),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
    "documents": (None, []),
    "chat_template": (None,),
    "add_generation_prompt": (None, True),
    "continue_final_message": (None, False),
}

_decoder = msgspec.json.Decoder(ChatBody)


def parse_chat(body: bytes, limits: Limits) -> Generation:
    """The call of a body; raises `InvalidField`."""
    fields = decode_json(body, _decoder, depth_max=limits.json_depth_max)
    refuse_unsupported(fields, _UNSUPPORTED)
    max_tokens, max_tokens_field = fields.max_tokens, "max_tokens"
    if fields.max_completion_tokens is not None:
        max_tokens, max_tokens_field = fields.max_completion_tokens, "max_completion_tokens"
    is_stream, includes_usage = stream_of(fields)
    return Generation(
        model=fields.model,
        prompts=(ChatPrompt(_messages(fields.messages), fields.chat_template_kwargs or {}),),
        sampling=sampling_of(fields, max_tokens, max_tokens_field),
        max_tokens_field=max_tokens_field,
        stops=stops_of(fields),
        shows_stop=bool(fields.include_stop_str_in_output),
        is_stream=is_stream,
        includes_usage=includes_usage,
        includes_receipt=fields.pdmesh is not None and fields.pdmesh.receipt,
        size_bytes=len(body),
    )


def _messages(messages: list[Message]) -> list[dict[str, Any]]:
    if not messages:
        raise InvalidField("messages: must have at least one message", field="messages")
    return [_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def _message(message: Message, at: str) -> dict[str, Any]:
    """A message as templates take it."""
    if message.role not in ROLES:
        raise InvalidField(f"{at}.role: must be one of {', '.join(ROLES)}", field=f"{at}.role")
    for name in ("tool_calls", "function_call"):
        if getattr(message, name):
            raise InvalidField(f"{at}.{name}: tools are not supported by this server", field=f"{at}.{name}")
    made: dict[str, Any] = {"role": message.role, "content": _content(message, f"{at}.content")}
    if message.name is not None:
        made["name"] = message.name
    if message.tool_call_id is not None:
        made["tool_call_id"] = message.tool_call_id
    return made


def _content(message: Message, at: str) -> str:
    if isinstance(message.content, str):
        return message.content
    if message.content is None:
        if message.role == "assistant":
            return ""
        raise InvalidField(f"{at}: is required", field=at)
    return "\n".join(_text(part, f"{at}[{index}]") for index, part in enumerate(message.content))


def _text(part: Part, at: str) -> str:
    if part.type != "text":
        raise InvalidField(f"{at}.type: only text is supported by this server", field=f"{at}.type")
    if part.text is None:
        raise InvalidField(f"{at}.text: is required", field=f"{at}.text")
    return part.text
