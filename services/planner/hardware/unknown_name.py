"""Refusing a name that nobody knows: one line with what it was for, the nearest one, and all there are."""

import difflib
from collections.abc import Iterable

from services.common.errors import BadSetting
from services.common.settings import unknown

NAMES_SHOWN_MAX = 12


def unknown_name(flag: str, what: str, name: str, known: Iterable[str]) -> BadSetting:
    """The error; of many names only some are listed."""
    names = sorted(known)
    shown = names
    if len(names) > NAMES_SHOWN_MAX:
        shown = difflib.get_close_matches(name, names, n=NAMES_SHOWN_MAX, cutoff=0.0)
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return BadSetting(f"{flag}: {unknown(what, name, names).message} (known: {', '.join(shown)}{more})")
