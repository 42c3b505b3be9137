"""The messages of a conversation, from Anthropic's content blocks to what chat templates take."""

from typing import Any

import msgspec

from services.common.errors import InvalidField
from services.gateway.rest.anthropic.block import Block, text_of, texts
from services.gateway.rest.openai.packed_thought import unpack

ROLES = ("user", "assistant", "system")
CHANGES = ("tool_addition", "tool_removal")
"""Blocks that say which tools there are from here on; they are no words of anybody."""
_BILLING = "x-anthropic-billing-header"
"""Some clients begin their system prompt with a hash that is never the same: nothing would be cached."""


class InputMessage(msgspec.Struct):
    """One message of the conversation."""

    role: str
    content: str | list[Block]


System = str | list[Block] | None


def template_messages(system: System, messages: list[InputMessage]) -> list[dict[str, Any]]:
    """Messages as templates take them; raises `InvalidField` for what they cannot be."""
    if not messages:
        raise InvalidField("messages: must have at least one message", field="messages")
    made = _system(system, "system")
    for index, message in enumerate(messages):
        at = f"messages[{index}]"
        if message.role not in ROLES:
            raise InvalidField(f"{at}.role: must be one of {', '.join(ROLES)}", field=f"{at}.role")
        if message.role == "system":
            made += _system(message.content, f"{at}.content")
        elif isinstance(message.content, str):
            made.append({"role": message.role, "content": message.content})
        elif message.role == "assistant":
            made.append(_assistant(message.content, f"{at}.content"))
        else:
            made += _user(message.content, f"{at}.content")
    return made


def _system(content: System, at: str) -> list[dict[str, Any]]:
    if not content:
        return []
    said = [content] if isinstance(content, str) else _texts(content, at)
    text = "".join([text for text in said if not text.startswith(_BILLING)])
    return [{"role": "system", "content": text}] if text else []


def _texts(blocks: list[Block], at: str) -> list[str]:
    """The words among blocks of a message."""
    return [
        text_of(block, f"{at}[{index}]") for index, block in enumerate(blocks) if block.type not in CHANGES
    ]


def _user(blocks: list[Block], at: str) -> list[dict[str, Any]]:
    """Results of tools are messages of their own."""
    made: list[dict[str, Any]] = []
    said: list[str] = []
    for index, block in enumerate(blocks):
        if block.type == "tool_result":
            made += _said(said)
            said = []
            made.append(_tool_result(block, f"{at}[{index}]"))
        elif block.type not in CHANGES:
            said.append(text_of(block, f"{at}[{index}]"))
    return made + (_said(said) or ([] if made else [{"role": "user", "content": ""}]))


def _said(said: list[str]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "\n".join([text for text in said if text])}] if said else []


def _tool_result(block: Block, at: str) -> dict[str, Any]:
    if not block.tool_use_id:
        raise InvalidField(f"{at}.tool_use_id: is required", field=f"{at}.tool_use_id")
    content = block.content or ""
    text = content if isinstance(content, str) else "\n".join(texts(content, f"{at}.content", stands_in=True))
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": text}


def _assistant(blocks: list[Block], at: str) -> dict[str, Any]:
    said, reasoning, calls = [], [], []
    for index, block in enumerate(blocks):
        if block.type == "thinking":
            reasoning.append(block.thinking or unpack(block.signature))
        elif block.type == "tool_use":
            calls.append(_tool_use(block, f"{at}[{index}]"))
        elif block.type != "redacted_thinking":
            said.append(text_of(block, f"{at}[{index}]"))
    made: dict[str, Any] = {"role": "assistant", "content": "\n".join([text for text in said if text])}
    if calls:
        made["tool_calls"] = calls
    if thought := "".join(reasoning):
        made |= {"reasoning": thought, "reasoning_content": thought}
    return made


def _tool_use(block: Block, at: str) -> dict[str, Any]:
    for name in ("id", "name"):
        if not getattr(block, name):
            raise InvalidField(f"{at}.{name}: is required", field=f"{at}.{name}")
    function = {"name": block.name, "arguments": block.input or {}}
    return {"id": block.id, "type": "function", "function": function}
