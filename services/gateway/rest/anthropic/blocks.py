"""The messages of a conversation, from Anthropic's content blocks to what chat templates take."""

from typing import Any

import msgspec

from services.common.errors import InvalidField

ROLES = ("user", "assistant", "system")
_BILLING = "x-anthropic-billing-header"
"""Some clients begin their system prompt with a hash that is never the same: nothing would be cached."""


class Block(msgspec.Struct):
    """One block of a message's content; which fields it has, its type says."""

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: "str | list[Block] | None" = None


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
    texts = [content] if isinstance(content, str) else _texts(content, at)
    text = "".join([text for text in texts if not text.startswith(_BILLING)])
    return [{"role": "system", "content": text}] if text else []


def _user(blocks: list[Block], at: str) -> list[dict[str, Any]]:
    """Results of tools are messages of their own."""
    made: list[dict[str, Any]] = []
    texts: list[str] = []
    for index, block in enumerate(blocks):
        if block.type == "tool_result":
            made += _said(texts)
            texts = []
            made.append(_tool_result(block, f"{at}[{index}]"))
        else:
            texts.append(_text(block, f"{at}[{index}]"))
    return made + (_said(texts) or ([] if made else [{"role": "user", "content": ""}]))


def _said(texts: list[str]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "\n".join([text for text in texts if text])}] if texts else []


def _tool_result(block: Block, at: str) -> dict[str, Any]:
    if not block.tool_use_id:
        raise InvalidField(f"{at}.tool_use_id: is required", field=f"{at}.tool_use_id")
    content = block.content or ""
    text = content if isinstance(content, str) else "\n".join(_texts(content, f"{at}.content"))
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": text}


def _assistant(blocks: list[Block], at: str) -> dict[str, Any]:
    texts, reasoning, calls = [], [], []
    for index, block in enumerate(blocks):
        if block.type == "thinking":
            reasoning.append(block.thinking or "")
        elif block.type == "tool_use":
            calls.append(_tool_use(block, f"{at}[{index}]"))
        elif block.type != "redacted_thinking":
            texts.append(_text(block, f"{at}[{index}]"))
    made: dict[str, Any] = {"role": "assistant", "content": "\n".join([text for text in texts if text])}
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


def _texts(blocks: list[Block], at: str) -> list[str]:
    return [_text(block, f"{at}[{index}]") for index, block in enumerate(blocks)]


def _text(block: Block, at: str) -> str:
    if block.type != "text":
        raise InvalidField(f"{at}.type: {block.type[:50]!r} is not supported here", field=f"{at}.type")
    if block.text is None:
        raise InvalidField(f"{at}.text: is required", field=f"{at}.text")
    return block.text
