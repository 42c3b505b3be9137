"""Refusals of fields that would change an answer and are not served, by name."""

import functools
from collections.abc import Callable, Mapping
from operator import attrgetter

import msgspec

from services.common.errors import InvalidField

Refused = Mapping[str, tuple[object, ...]]
"""Names of fields, each with the values that change nothing and are therefore accepted."""


def refuse_unsupported(body: msgspec.Struct, table: Refused, within: str = "") -> None:
    """Raise `InvalidField` for a field that would silently not be honoured.

    `within` stands before its name where the struct is a part of a body.
    """
    values = _reader(tuple(table))(body)
    if values.count(None) == len(values):
        return
    for value, (name, neutral) in zip(values, table.items(), strict=True):
        if value is not None and (value not in neutral or isinstance(value, bool) != _has_bool(neutral)):
            said = f"{within}{name}"
            raise InvalidField(f"{said}: this value is not supported by this server", field=said)


@functools.cache
def _reader(names: tuple[str, ...]) -> Callable[[msgspec.Struct], tuple[object, ...]]:
    """Reads these fields in one call; mostly all are `None`."""
    return attrgetter(*names) if len(names) > 1 else lambda body: (getattr(body, names[0]),)


def _has_bool(values: tuple[object, ...]) -> bool:
    """`True == 1` in Python, but `n: true` is not `n: 1`."""
    return any(isinstance(value, bool) for value in values)
