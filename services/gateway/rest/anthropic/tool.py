"""One tool that a conversation may call, as Anthropic describes it."""

from typing import Any

import msgspec


class MessagesTool(msgspec.Struct):
    """One entry of `tools`: a function of the caller's own."""

    name: str = ""
    input_schema: dict[str, Any] | None = None
    description: str | None = None
    type: str | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    """Not offered before the conversation refers to it."""


class ToolChange(msgspec.Struct):
    """What a block adds to the tools or takes from them."""

    type: str
    name: str | None = None
    definition: MessagesTool | None = None
