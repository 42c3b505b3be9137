"""Plain data that nobody changes."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """A dataclass that is frozen for the type checker alone.

    For what is made with each request: freezing it at run time takes a call of `object.__setattr__` for each
    field, which makes its making three times as long. Not hashable, unlike a frozen dataclass.
    """
    return dataclass(slots=True)(cls)
