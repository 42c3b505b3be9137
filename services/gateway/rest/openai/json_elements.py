"""How many elements a JSON text has: counted before any of them is made.

A list or a map costs fifty times the bytes that it is written with, and making a million of them takes
seconds in which nothing else runs. Numbers and texts cost less, so that they have a bound of their own.
"""

from collections.abc import Iterator

from services.common.errors import InvalidField
from services.common.limits import Limits

SLICE_BYTES = 256 * 1024
"""So much is looked at in one step; other threads run between two."""
_QUOTE, _BACKSLASH = b'"', b"\\"
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def check_elements(text: bytes, limits: Limits, at: str = "") -> None:
    """Raise `InvalidField` for a text with too many elements, or that nests too deep.

    What looks like structure may stand in a string. So what is counted first is too much at most, and only a
    text that might be over is looked at closely.
    """
    brackets = text.count(b"[") + text.count(b"{")
    might_be_over = (
        brackets > limits.json_depth_max
        or brackets + text.count(b":") > limits.json_objects_max
        or text.count(b",") > limits.json_elements_max
    )
    if might_be_over:
        depth = Elements(limits).take(text)
        if depth is None:
            raise _too_many(at, limits)
        if depth > limits.json_depth_max:
            raise InvalidField(f"{_named(at)} nests deeper than {limits.json_depth_max} levels", field=at)


class Elements:
    """What several JSON texts may have together."""

    def __init__(self, limits: Limits) -> None:
        self.depth_max = limits.json_depth_max
        self._objects_left = limits.json_objects_max
        self._elements_left = limits.json_elements_max

    def take(self, text: bytes) -> int | None:
        """How deep a text nests; `None`, and nothing is taken, where it has more elements than are left."""
        objects = elements = 0
        brackets = []
        for structure in structure_of(text):
            objects += structure.count(b"[") + structure.count(b"{") + structure.count(b":")
            elements += structure.count(b",")
            if objects > self._objects_left or elements > self._elements_left:
                return None
            brackets.append(structure.translate(None, _NOT_BRACKETS))
        self._objects_left -= objects
        self._elements_left -= elements
        return depth_of(b"".join(brackets))

    def takes(self, text: bytes) -> bool:
        """Take a text, unless it has more elements than are left, or nests too deep."""
        depth = self.take(text)
        return depth is not None and depth <= self.depth_max


def depth_of(brackets: bytes) -> int:
    """How many are open at once, at most."""
    depth = deepest = 0
    for bracket in brackets:
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def structure_of(text: bytes) -> Iterator[bytes]:
    """What a JSON text has outside of its strings, slice by slice."""
    start, is_inside = 0, False
    while start < len(text):
        end = start + SLICE_BYTES
        piece = text[start:end]
        if (len(piece) - len(piece.rstrip(_BACKSLASH))) % 2:  # it would cut an escape in two
            piece = text[start : end + 1]
        start += len(piece)
        plain = piece.replace(_BACKSLASH * 2, b"").replace(_BACKSLASH + _QUOTE, b"")
        parts = plain.split(_QUOTE)
        yield b"".join(parts[is_inside::2])
        is_inside ^= len(parts) % 2 == 0


def _too_many(at: str, limits: Limits) -> InvalidField:
    return InvalidField(
        f"{_named(at)} has too many elements: {limits.json_objects_max} lists, maps and entries of maps, and "
        f"{limits.json_elements_max} elements of lists are allowed in all",
        field=at,
    )


def _named(at: str) -> str:
    return f"{at}: it" if at else "the body"
