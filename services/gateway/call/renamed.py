"""Errors in the words of APIs that call the same fields differently."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from services.common.errors import InvalidField, MeshError


@contextmanager
def renamed(names: Mapping[str, str]) -> Iterator[None]:
    """An `InvalidField` that leaves the block names a field, or one within it, by the name behind its own."""
    try:
        yield
    except InvalidField as error:
        theirs = reworded(error, names)
        if theirs is error:
            raise
        raise theirs from None


def reworded(error: MeshError, names: Mapping[str, str]) -> MeshError:
    """An error about a field as one about the field by the name behind its own; others as they are."""
    if not isinstance(error, InvalidField):
        return error
    name = name_of(error.field, names)
    if name == error.field:
        return error
    return InvalidField(error.message.replace(error.field, name), field=name)


def name_of(field: str, names: Mapping[str, str]) -> str:
    """A field's other name, or that of a field around it and the rest; its own where it has none."""
    for ours, theirs in names.items():
        rest = field[len(ours) :]
        if field.startswith(ours) and rest[:1] in ("", ".", "["):
            return theirs + rest
    return field
