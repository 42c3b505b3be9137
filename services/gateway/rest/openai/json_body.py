"""A JSON body into a typed struct; everything that can be wrong with it is said in terms of its fields."""

import re
from typing import NoReturn, TypeVar

import msgspec

from services.common.errors import InvalidField

T = TypeVar("T")

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""An unclosed string reaches to the end: were it no match, each later quote would be tried in its turn."""
_BRACKET = re.compile(rb"[\[\]{}]")
_PATH = re.compile(r"at (?:`key` in )?`\$\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `([^`]*)`")


def decode_json(body: bytes, decoder: "msgspec.json.Decoder[T]", *, depth_max: int) -> T:
    """The decoded body; raises `InvalidField` for bad UTF-8, bad JSON, deep nesting and wrong types.

    Unknown fields are ignored; of a field given twice the last counts.
    """
    if not body.isascii():
        _check_text(body)
    if body.count(b"[") + body.count(b"{") > depth_max:
        _check_depth(body, depth_max)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        _raise_for(str(error))
    except msgspec.DecodeError as error:
        raise InvalidField(f"the body is not valid JSON: {error}") from None


def field_of(message: str) -> str:
    """The field that a msgspec message is about, as a path; empty for the body itself."""
    at = _PATH.search(message)
    path = at.group(1) if at else ""
    missing = _MISSING.search(message)
    return f"{path}.{missing.group(1)}".lstrip(".") if missing else path


def _raise_for(message: str) -> NoReturn:
    field = field_of(message)
    reason = message.split(" - at ")[0].replace("Object missing", "missing")
    raise InvalidField(f"{field}: {reason}" if field else f"the body: {reason}", field=field)


def _check_text(body: bytes) -> None:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidField(f"the body is not valid UTF-8 at byte {error.start}") from None


def _check_depth(body: bytes, depth_max: int) -> None:
    """Before parsing, because parsers recurse. This exact count is made only where the cheap one is high."""
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", body)):
        depth += 1 if bracket.group() in b"[{" else -1
        if depth > depth_max:
            raise InvalidField(f"the body nests deeper than {depth_max} levels")
