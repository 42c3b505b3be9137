"""How many fields a message has: counted before any of them is made, as the elements of JSON bodies are."""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from services.common.errors import InvalidField
from services.common.limits import Limits

SHORT_BYTES = 64 * 1024
"""Shorter messages need no counting: they cannot have so many."""
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_HIGH_BYTES = bytes(range(0x80, 0x100))
_TEXTS = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}


def check_message(kind: type[Message], data: bytes, limits: Limits) -> None:
    """Raise `InvalidField` for a message with too many fields, or that nests too deep.

    Numbers that are packed into one field cost little, and have a bound of their own.
    """
    if len(data) <= SHORT_BYTES:
        return
    try:
        _Count(limits).walk(data, 0, len(data), kind.DESCRIPTOR, 1)
    except IndexError:
        raise DecodeError("cut short") from None


class _Count:
    def __init__(self, limits: Limits) -> None:
        self._fields_max = self._left = limits.message_fields_max
        self._numbers_max = self._numbers_left = limits.token_ids_max
        self._depth_max = limits.json_depth_max

    def walk(self, data: bytes, at: int, end: int, described: Any, depth: int) -> None:
        """Count the fields between two places; those of a submessage with it, by its descriptor."""
        if depth > self._depth_max:
            raise InvalidField(f"the message nests deeper than {self._depth_max} levels")
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise InvalidField(f"the message has more than {self._fields_max} fields")
            tag, at = _varint(data, at)
            wire_type = tag & 7
            if wire_type == _LENGTH:
                size, at = _varint(data, at)
                if at + size > end:
                    raise DecodeError("a field is longer than its message")
                field = described.fields_by_number.get(tag >> 3) if described else None
                if field is not None and field.message_type is not None:
                    self.walk(data, at, at + size, field.message_type, depth + 1)
                elif field is not None and field.type not in _TEXTS:
                    self._take_numbers(data[at : at + size])
                at += size
            elif wire_type == _VARINT:
                _, at = _varint(data, at)
            elif wire_type in _FIXED_BYTES:
                at += _FIXED_BYTES[wire_type]
            else:
                raise DecodeError("groups are not used here")

    def _take_numbers(self, packed: bytes) -> None:
        """Count packed numbers: each ends with a byte whose highest bit is not set."""
        self._numbers_left -= len(packed.translate(None, _HIGH_BYTES))
        if self._numbers_left < 0:
            raise InvalidField(f"the message has more than {self._numbers_max} numbers in its lists")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise DecodeError("a number is too long")
