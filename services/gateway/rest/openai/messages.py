"""The messages of a conversation, from a body's words to what chat templates take."""

import re
from typing import Any

import msgspec

from services.common.errors import InvalidField
from services.common.limits import DEFAULTS
from services.gateway.rest.openai.json_elements import Elements

ROLE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Which roles there are, the model's chat template knows."""


class Part(msgspec.Struct, omit_defaults=True):
    """One part of a message's content."""

    type: str
    text: str | None = None
    refusal: str | None = None


class CalledFunction(msgspec.Struct):
    """What a tool call called."""

    name: str
    arguments: str | dict[str, Any] | None = None


class ToolCall(msgspec.Struct):
    """One call that the assistant made."""

    function: CalledFunction
    id: str | None = None
    type: str = "function"


class Message(msgspec.Struct):
    """One message of the conversation."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Any = None


def template_messages(messages: list[Message]) -> list[dict[str, Any]]:
    """Messages as templates take them; raises `InvalidField` for what they cannot be."""
    elements = Elements(DEFAULTS)
    if not messages:
        raise InvalidField("messages: must have at least one message", field="messages")
    return [_message(message, f"messages[{index}]", elements) for index, message in enumerate(messages)]


def _message(message: Message, at: str, elements: Elements) -> dict[str, Any]:
    if not ROLE.fullmatch(message.role):
        raise InvalidField(f"{at}.role: must be 1 to 64 letters, digits and _.-", field=f"{at}.role")
    if message.function_call:
        raise InvalidField(
            f"{at}.function_call: use tool_calls, which replaced it", field=f"{at}.function_call"
        )
    made: dict[str, Any] = {"role": message.role, "content": _content(message, f"{at}.content")}
    if message.role == "assistant":
        made |= _assistant(message, at, elements)
    elif message.tool_calls:
        raise InvalidField(f"{at}.tool_calls: only the assistant calls tools", field=f"{at}.tool_calls")
    if message.tool_call_id is not None:
        made["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        made["name"] = message.name
    return made


def _assistant(message: Message, at: str, elements: Elements) -> dict[str, Any]:
    """What only the assistant's own messages have. Templates differ in the name of the reasoning."""
    made: dict[str, Any] = {}
    if message.tool_calls:
        made["tool_calls"] = [
            _tool_call(call, f"{at}.tool_calls[{index}]", elements)
            for index, call in enumerate(message.tool_calls)
        ]
    reasoning = message.reasoning if message.reasoning is not None else message.reasoning_content
    if reasoning is not None:
        made |= {"reasoning": reasoning, "reasoning_content": reasoning}
    return made


def _tool_call(call: ToolCall, at: str, elements: Elements) -> dict[str, Any]:
    if call.type != "function":
        raise InvalidField(f"{at}.type: must be function", field=f"{at}.type")
    arguments = arguments_of(call.function.arguments, elements)
    function = {"name": call.function.name, "arguments": arguments}
    made: dict[str, Any] = {"type": call.type, "function": function}
    return made if call.id is None else {"id": call.id, **made}


def arguments_of(arguments: str | dict[str, Any] | None, elements: Elements | None = None) -> dict[str, Any]:
    """The arguments as an object; those of one conversation share `elements`.

    What a model once wrote stays in the history: arguments that are no JSON object count as none, and so do
    those that nest too deep or have too many elements, for refusing them would refuse all the rest of the
    conversation.
    """
    if isinstance(arguments, dict):
        return arguments
    text = (arguments or "{}").encode("utf-8", "surrogatepass")
    if elements is not None and not elements.takes(text):
        return {}
    return _decoded(text) or {}


def is_object(arguments: str) -> bool:
    """Whether the arguments of a call are complete: none at all, or a JSON object."""
    return _decoded((arguments or "{}").encode("utf-8", "surrogatepass")) is not None


def _decoded(arguments: bytes) -> dict[str, Any] | None:
    try:
        decoded = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _content(message: Message, at: str) -> str:
    if isinstance(message.content, str):
        return message.content
    if message.content is None:
        if message.role == "assistant":
            return message.refusal or ""
        raise InvalidField(f"{at}: is required", field=at)
    texts = [_text(part, f"{at}[{index}]") for index, part in enumerate(message.content)]
    return "\n".join([text for text in texts if text])  # as vLLM joins them


def _text(part: Part, at: str) -> str:
    if part.type == "refusal" and part.refusal is not None:
        return part.refusal
    if part.type != "text":
        raise InvalidField(f"{at}.type: only text is supported by this server", field=f"{at}.type")
    if part.text is None:
        raise InvalidField(f"{at}.text: is required", field=f"{at}.text")
    return part.text
