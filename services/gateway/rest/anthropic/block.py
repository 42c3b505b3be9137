"""One block of a message's content, and what a model that reads only text is shown of it."""

import base64
import binascii
from typing import Any

import msgspec

from services.common.errors import InvalidField
from services.gateway.rest.anthropic.tool import ToolChange

IMAGE_STANDS_IN = "[An image was here. This model reads only text.]"
DOCUMENT_STANDS_IN = "[A document was here that is no text. This model reads only text.]"


class Source(msgspec.Struct):
    """Where an image or a document is from."""

    type: str = ""
    media_type: str | None = None
    data: str | None = None
    content: "str | list[Block] | None" = None


class Block(msgspec.Struct):
    """One block; which fields it has, its type says."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    tool_name: str | None = None
    tool: ToolChange | None = None
    content: "str | list[Block] | None" = None
    source: str | Source | None = None
    title: str | None = None
    context: str | None = None


def texts(blocks: list[Block], at: str, *, stands_in: bool = False) -> list[str]:
    """The text of each block; `at` is where they are."""
    return [text_of(block, f"{at}[{index}]", stands_in=stands_in) for index, block in enumerate(blocks)]


def text_of(block: Block, at: str, *, stands_in: bool = False) -> str:
    """What the model reads of a block.

    With `stands_in` a sentence is shown for an image or a document that is no text: what a tool gives is not
    the caller's choice, and refusing it would end the conversation. Else raises `InvalidField`.
    """
    if block.type == "text":
        if block.text is None:
            raise InvalidField(f"{at}.text: is required", field=f"{at}.text")
        return block.text
    if block.type == "search_result":
        source = block.source if isinstance(block.source, str) else None
        return _joined(block.title, source, _content(block.content, f"{at}.content"))
    if block.type == "document" and isinstance(block.source, Source):
        told = _document(block.source, f"{at}.source", stands_in=stands_in)
        if told is not None:
            return _joined(block.title, block.context, told)
    if block.type == "tool_reference" and stands_in:
        return f"The tool {block.tool_name or ''} can be called now."
    if block.type in _STAND_INS and stands_in:
        return _STAND_INS[block.type]
    raise InvalidField(f"{at}.type: {block.type[:50]!r} is not supported here", field=f"{at}.type")


_STAND_INS = {"image": IMAGE_STANDS_IN, "document": DOCUMENT_STANDS_IN}


def _document(source: Source, at: str, *, stands_in: bool) -> str | None:
    """The text of a document; None where it is none."""
    if source.type == "text":
        return source.data or ""
    if source.type == "content":
        return _content(source.content, f"{at}.content", stands_in=stands_in)
    if source.type == "base64" and (source.media_type or "").startswith("text/"):
        try:
            return base64.b64decode(source.data or "", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise InvalidField(f"{at}.data: is not UTF-8 text in base64", field=f"{at}.data") from None
    return None


def _content(content: str | list[Block] | None, at: str, *, stands_in: bool = False) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(texts(content, at, stands_in=stands_in))


def _joined(*parts: str | None) -> str:
    return "\n".join([part for part in parts if part])
