"""A message as plain data, for `--json`."""

from typing import Any

from google.protobuf.message import Message

from services.common.domain import Role


def plain(message: Message) -> dict[str, Any]:
    """All fields by name, unset ones included; roles in words, 64-bit numbers as numbers."""
    return {
        field.name: _value(field.name, getattr(message, field.name)) for field in message.DESCRIPTOR.fields
    }


def _value(name: str, value: Any) -> Any:
    if isinstance(value, Message):
        return plain(value)
    if name == "role":
        return Role(value).name.lower()
    if isinstance(value, bool | int | float | str):
        return value
    return [_value("", item) for item in value]
