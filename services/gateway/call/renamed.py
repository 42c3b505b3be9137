"""Errors in the words of APIs that call the same fields differently."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from services.common.errors import InvalidField


@contextmanager
def renamed(names: Mapping[str, str]) -> Iterator[None]:
    """An `InvalidField` that leaves the block names a field, or one within it, by the name behind its own."""
    try:
        yield
    except InvalidField as error:
        for ours, theirs in names.items():
            rest = error.field[len(ours) :]
            if error.field.startswith(ours) and rest[:1] in ("", ".", "["):
                message = error.message.replace(error.field, theirs + rest)
                raise InvalidField(message, field=theirs + rest) from None
        raise
