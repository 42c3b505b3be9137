"""Turning text and TOML values into a setting's type, or refusing them in one line."""

import json
import math
from collections.abc import Callable
from typing import Any

from services.common.errors import BadSetting
from services.common.settings.leaf import Leaf
from services.common.settings.nearest import nearest

YES = ("true", "yes", "on", "1")
NO = ("false", "no", "off", "0")
NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list of texts",
}


def from_text(leaf: Leaf, text: str, source: str) -> Any:
    """The value of a flag or variable; `source` names it in the error."""
    if leaf.optional and text == "none":
        return None
    try:
        value = _PARSERS[leaf.kind](text)
    except ValueError:
        raise _wrong(leaf, text, source) from None
    return checked(leaf, value, source)


def from_toml(leaf: Leaf, value: Any, source: str) -> Any:
    """The value of a key in a file; TOML's types must fit, except that a whole number is also a number."""
    if leaf.kind is tuple and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if leaf.kind is float and type(value) is int:
        return checked(leaf, float(value), source)
    if type(value) is not leaf.kind:
        raise _wrong(leaf, value, source)
    return checked(leaf, value, source)


def checked(leaf: Leaf, value: Any, source: str) -> Any:
    """`value` itself when it is one of the setting's choices and within its range."""
    if leaf.kind in (int, float) and value is not None:
        _check_range(leaf, value, source)
    if not leaf.choices or value in leaf.choices:
        return value
    close = nearest(str(value), leaf.choices)
    hint = f"; did you mean {close}?" if close else ""
    raise BadSetting(f"{source}: {value!r} is not one of {', '.join(leaf.choices)}{hint}", field=leaf.name)


def _check_range(leaf: Leaf, value: float, source: str) -> None:
    if leaf.least <= value <= leaf.most:
        return
    wanted = f"at least {leaf.least}" if math.isinf(leaf.most) else f"between {leaf.least} and {leaf.most}"
    raise BadSetting(f"{source}: {value} is not {wanted}", field=leaf.name)


def _wrong(leaf: Leaf, value: Any, source: str) -> BadSetting:
    return BadSetting(f"{source}: {value!r} is not {NAMES[leaf.kind]}", field=leaf.name)


def _flag_word(text: str) -> bool:
    if text.lower() not in YES + NO:
        raise ValueError(text)
    return text.lower() in YES


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _texts(text: str) -> tuple[str, ...]:
    """`a,b`, or a JSON list where an item contains a comma."""
    if not text.startswith("["):
        return tuple(item for item in text.split(",") if item)
    items = json.loads(text)
    if not all(isinstance(item, str) for item in items):
        raise ValueError(text)
    return tuple(items)


_PARSERS: dict[type[Any], Callable[[str], Any]] = {
    str: str,
    int: int,
    float: _finite,
    bool: _flag_word,
    tuple: _texts,
}
