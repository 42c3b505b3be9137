"""The items of a conversation, from a body's words to what chat templates take."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from services.common.errors import InvalidField
from services.common.limits import DEFAULTS
from services.gateway.rest.openai.json_elements import Elements
from services.gateway.rest.openai.messages import Part, arguments_of
from services.gateway.rest.openai.packed_thought import unpack
from services.gateway.rest.responses.caller_tool import INPUT, flat_name

ROLES = ("user", "assistant", "system", "developer")
_TEXTS = ("input_text", "output_text", "text", "reasoning_text", "summary_text")
_STAND_INS = {
    "input_image": "[An image was here. This model reads only text.]",
    "input_file": "[A file was here. This model reads only text.]",
}
"""For what a tool gave: it is not the caller's choice, and refusing it would end the conversation."""
_LEFT_OUT = re.compile(
    r"(web_search|file_search|code_interpreter|computer|image_generation|mcp|tool_search"
    r"|local_shell|shell|apply_patch)_(call|call_output|output|list_tools|approval_request|approval_response)"
)
"""What tools did that are not offered here either."""


class Item(msgspec.Struct, omit_defaults=True):
    """One item of `input`; which fields it has, its type says."""

    type: str | None = None
    role: str | None = None
    content: str | list[Part] | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | list[Part] | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None


def items_of(given: str | list[Item]) -> list[Item]:
    """The items of `input`; raises `InvalidField` where there is none."""
    if isinstance(given, str):
        return [Item(role="user", content=given)]
    if not given:
        raise InvalidField("input: must have at least one item", field="input")
    return given


def template_messages(
    instructions: str | None, before: Sequence[Item], given: Sequence[Item]
) -> list[dict[str, Any]]:
    """Messages as templates take them, with the conversation `before`; raises `InvalidField` for what they
    cannot be.
    """
    conversation = _Conversation([{"role": "system", "content": instructions}] if instructions else [])
    for item in before:
        conversation.add(item, "previous_response_id")
    for index, item in enumerate(given):
        conversation.add(item, f"input[{index}]")
    return conversation.messages


class _Conversation:
    """Puts together what the assistant said, thought and called in one turn."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.messages = messages
        self._elements = Elements(DEFAULTS)
        self._turn: dict[str, Any] | None = None
        """The assistant's own message, while items may still be added to it."""

    def add(self, item: Item, at: str) -> None:
        """Take the next item."""
        kind = item.type or "message"
        if kind == "function_call":
            self._called(item, arguments_of(item.arguments, self._elements), at)
        elif kind == "custom_tool_call":
            self._called(item, {INPUT: item.input or ""}, at)
        elif kind == "reasoning":
            self._thought(item, at)
        elif kind == "message":
            self._said(item, at)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            self._turn = None
            text = "\n".join(_texts(item.output, f"{at}.output", stands_in=True))
            call_id = _required(item.call_id, f"{at}.call_id")
            self.messages.append({"role": "tool", "tool_call_id": call_id, "content": text})
        elif not _LEFT_OUT.fullmatch(kind):
            raise InvalidField(f"{at}.type: {kind[:50]!r} is not supported here", field=f"{at}.type")

    def _own(self) -> dict[str, Any]:
        if self._turn is None:
            self._turn = {"role": "assistant", "content": ""}
            self.messages.append(self._turn)
        return self._turn

    def _said(self, item: Item, at: str) -> None:
        if item.role not in ROLES:
            raise InvalidField(f"{at}.role: must be one of {', '.join(ROLES)}", field=f"{at}.role")
        if item.content is None:
            raise InvalidField(f"{at}.content: is required", field=f"{at}.content")
        text = "\n".join([text for text in _texts(item.content, f"{at}.content") if text])
        if item.role != "assistant":
            self._turn = None
            self.messages.append({"role": item.role, "content": text})
            return
        if self._own()["content"] or "tool_calls" in self._own():
            self._turn = None
        self._own()["content"] = text

    def _thought(self, item: Item, at: str) -> None:
        texts = _texts(item.content, f"{at}.content")
        if not texts:
            carried = unpack(item.encrypted_content)
            texts = [carried] if carried else _texts(item.summary, f"{at}.summary")
        thought = "\n".join(texts)
        self._own().update({"reasoning": thought, "reasoning_content": thought})

    def _called(self, item: Item, arguments: dict[str, Any], at: str) -> None:
        name = flat_name(_required(item.name, f"{at}.name"), item.namespace)
        function = {"name": name, "arguments": arguments}
        call_id = _required(item.call_id, f"{at}.call_id")
        call = {"id": call_id, "type": "function", "function": function}
        self._own().setdefault("tool_calls", []).append(call)


def _required(value: str | None, at: str) -> str:
    if not value:
        raise InvalidField(f"{at}: is required", field=at)
    return value


def _texts(content: str | list[Part] | None, at: str, *, stands_in: bool = False) -> list[str]:
    if content is None or isinstance(content, str):
        return [content] if content else []
    return [_text(part, f"{at}[{index}]", stands_in=stands_in) for index, part in enumerate(content)]


def _text(part: Part, at: str, *, stands_in: bool) -> str:
    if stands_in and part.type in _STAND_INS:
        return _STAND_INS[part.type]
    if part.type == "refusal" and part.refusal is not None:
        return part.refusal
    if part.type not in _TEXTS:
        raise InvalidField(f"{at}.type: {part.type[:50]!r} is not supported here", field=f"{at}.type")
    if part.text is None:
        raise InvalidField(f"{at}.text: is required", field=f"{at}.text")
    return part.text
