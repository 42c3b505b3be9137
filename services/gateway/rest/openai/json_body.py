"""A JSON body into a typed struct; everything that can be wrong with it is said in terms of its fields."""

import re
from typing import NoReturn, TypeVar

import msgspec

from services.common.errors import InvalidField
from services.common.limits import Limits
from services.gateway.rest.openai.json_elements import check_elements

T = TypeVar("T")

_PATH = re.compile(r"at (?:`key` in )?`\$\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `([^`]*)`")


def decode_json(body: bytes, decoder: "msgspec.json.Decoder[T]", limits: Limits) -> T:
    """The decoded body; raises `InvalidField` for bad UTF-8, bad JSON and wrong types; and, before anything
    is made of it, for too many elements and deep nesting.

    Unknown fields are ignored; of a field given twice the last counts.
    """
    if not body.isascii():
        _check_text(body)
    check_elements(body, limits)
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
