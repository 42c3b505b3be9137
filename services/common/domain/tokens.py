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


def _swapped_from_bytes(column: bytes) -> "array[int]":
    ids = array(type_code, column)
    ids.byteswap()
    return ids


def _swapped_to_bytes(ids: "array[int]") -> bytes:
    ids = ids[:]
    ids.byteswap()
    return ids.tobytes()


_swaps = sys.byteorder == "big"
from_bytes: Callable[[bytes], "array[int]"] = _swapped_from_bytes if _swaps else partial(array, type_code)
"""Makes an array of a wire column; raises ValueError when its length is no multiple of 4 bytes."""
to_bytes: Callable[["array[int]"], bytes] = _swapped_to_bytes if _swaps else array.tobytes
"""Makes the wire column (little-endian unsigned 32-bit) of an array."""
