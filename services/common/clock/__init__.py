"""Time as the mesh measures it: milliseconds of a clock that never goes back."""

import time
from typing import Protocol


class Clock(Protocol):
    """A source of monotonic time, injected wherever time matters."""

    def now_ms(self) -> float:
        """Milliseconds since an arbitrary start."""


class MonotonicClock:
    """The operating system's monotonic clock."""

    def now_ms(self) -> float:
        """Milliseconds since an arbitrary start."""
        return time.monotonic() * 1000.0


class ManualClock:
    """A clock that moves only when told to, for tests and simulation."""

    def __init__(self, start_ms: float = 0.0) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> float:
        """Milliseconds since the start, as last set."""
        return self._now_ms

    def advance(self, by_ms: float) -> None:
        """Move forward; raises ValueError on a negative step."""
        if by_ms < 0:
            raise ValueError(f"a clock does not go back: {by_ms} ms")
        self._now_ms += by_ms


BEAT_SHARE_MIN = 0.2
"""Of an interval; a shorter rest of it belongs to the beat that has just been."""


def until_beat_s(interval_s: float) -> float:
    """Seconds to the next whole multiple of an interval on the operating system's clock.

    A process whose loops sleep until then, and not for an interval each, wakes once for all of them: an idle
    process costs as much as it wakes. Off by less than an interval, never more often than asked.
    """
    rest_s = interval_s - time.monotonic() % interval_s
    return rest_s if rest_s > interval_s * BEAT_SHARE_MIN else rest_s + interval_s
