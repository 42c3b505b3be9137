"""Bringing a `Startup` error out of the task groups around it."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.common.errors import Startup


@contextmanager
def startup_unwrapped() -> Iterator[None]:
    """Raise the first `Startup` of an exception group by itself; other exceptions pass as they are."""
    try:
        yield
    except BaseExceptionGroup as group:
        if refused := group.subgroup(Startup):
            raise first(refused) from None
        raise


def first(group: BaseExceptionGroup[Startup]) -> Startup:
    """The first error of a group, however deep."""
    error = group.exceptions[0]
    return first(error) if isinstance(error, BaseExceptionGroup) else error
