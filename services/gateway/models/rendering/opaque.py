"""Texts that a template can pass on and nothing else: what it makes of one, it makes of all."""

from typing import Any, NoReturn

OPEN, CLOSE = "\ufdd3", "\ufdd4"
"""Around a text's number; no characters, which stand in no text."""


class Looked(BaseException):  # jinja takes some exceptions for an answer
    """A template looked into a text instead of passing it on."""


class Opaque(str):
    """Stands for a text: may be joined with others, written, and asked whether it is empty.

    A template may also trim it where that changes nothing. All else raises `Looked`.
    """

    __slots__ = ("_is_empty", "_is_trimmed")

    _is_empty: bool
    _is_trimmed: bool

    @classmethod
    def of(cls, number: int, *, is_empty: bool, is_trimmed: bool) -> "Opaque":
        """What stands for the text of that number."""
        made = cls(f"{OPEN}{number}{CLOSE}")
        made._is_empty, made._is_trimmed = is_empty, is_trimmed
        return made

    def __str__(self) -> "Opaque":
        return self

    def __bool__(self) -> bool:
        return not self._is_empty

    def __add__(self, other: str) -> "Opaque":
        return _joined(self, other, is_empty=self._is_empty and not other)

    def __radd__(self, other: str) -> "Opaque":
        return _joined(other, self, is_empty=self._is_empty and not other)

    def strip(self, *chars: object) -> "Opaque":
        """The same, where nothing is to be trimmed."""
        if self._is_trimmed and chars in ((), (None,)):
            return self
        raise Looked


def _joined(left: str, right: str, *, is_empty: bool) -> Opaque:
    made = Opaque("".join((left, right)))
    made._is_empty, made._is_trimmed = is_empty, False
    return made


def _look(*_: Any, **__: Any) -> NoReturn:
    raise Looked


_OWN = frozenset(vars(Opaque)) | {"__init__", "__new__", "__class__", "__getattribute__", "__setattr__"}
for _name in dir(str):
    if _name not in _OWN and callable(getattr(str, _name)):
        setattr(Opaque, _name, _look)
