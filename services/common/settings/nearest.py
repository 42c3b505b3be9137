"""Refusing an unknown name with the nearest known one."""

import difflib
from collections.abc import Iterable

from services.common.errors import BadSetting


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None when none is much like it."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def unknown(what: str, name: str, known: Iterable[str]) -> BadSetting:
    """The error for an unknown name; `what` says what kind of name it is."""
    close = nearest(name, known)
    hint = f"; did you mean {close}?" if close else ""
    return BadSetting(f"unknown {what} {name}{hint}", field=name)
