"""Token ids in memory: `array('I')`, one unsigned 32-bit integer per token."""

import sys
from array import array
from collections.abc import Callable, Iterable
from functools import partial

type_code = "I"

if array(type_code).itemsize != 4:  # pragma: no cover - no supported platform
    raise ImportError("pdmesh needs a platform whose unsigned int has 32 bits")


def tokens(ids: Iterable[int] = ()) -> "array[int]":
    """Token ids as an array; raises OverflowError on a negative or too large id."""
    return array(type_code, ids)


no_tokens: Callable[[], "array[int]"] = partial(array, type_code)
"""Makes an empty array; the default of fields that hold tokens."""


def from_bytes(column: bytes) -> "array[int]":
    """An array from a wire column; raises ValueError when its length is no multiple of 4 bytes."""
    ids = array(type_code, column)
    if sys.byteorder == "big":  # pragma: no cover
        ids.byteswap()
    return ids


def to_bytes(ids: "array[int]") -> bytes:
    """The wire column (little-endian unsigned 32-bit) of an array."""
    if sys.byteorder == "big":  # pragma: no cover
        ids = ids[:]
        ids.byteswap()
    return ids.tobytes()
