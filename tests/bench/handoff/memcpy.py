"""What one core of this machine copies from memory to memory."""

import time

REPEATS = 9
ROOM_BYTES = 256 * 2**20
"""Copies go through buffers of this size, so that no cache holds them."""


def memcpy_gb_per_s(size_bytes: int, room_bytes: int = ROOM_BYTES) -> float:
    """The median rate of copies of this size, each between places that were not touched for a while."""
    size_bytes = max(1, min(size_bytes, room_bytes // 2))
    source, target = (memoryview(bytearray(room_bytes)) for _ in range(2))
    target[:] = source
    places = range(0, room_bytes - size_bytes + 1, size_bytes)
    rates = []
    for number in range(REPEATS):
        at = places[number * 7 % len(places)]
        began_s = time.perf_counter()
        target[at : at + size_bytes] = source[at : at + size_bytes]
        rates.append(size_bytes / (time.perf_counter() - began_s) / 1e9)
    return sorted(rates)[REPEATS // 2]
