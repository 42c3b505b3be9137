"""How long it takes from wanting a worker to having it, as seen."""

from collections import deque

NEWEST_WEIGHT = 0.3
COLD_START_MS_MAX = 900_000.0
"""Whoever needed longer than this was brought by a person, not by the scaler."""


class ColdStarts:
    """Matches wishes and arrivals, oldest first."""

    def __init__(self, expected_ms: float) -> None:
        self.typical_ms = expected_ms
        """The expectation until one is seen, then the mean, the newest counting most."""
        self._is_seen = False
        self._asked_ms: deque[float] = deque()
        self._attached = 0

    @property
    def coming(self) -> int:
        """Workers wanted that are not there yet."""
        return len(self._asked_ms)

    def watch(self, wanted: int, attached: int, now_ms: float) -> None:
        """How many workers there should be, and how many there are."""
        for _ in range(min(attached - self._attached, len(self._asked_ms))):
            self._take(now_ms - self._asked_ms.popleft())
        self._attached = attached
        missing = max(0, wanted - attached)
        while len(self._asked_ms) > missing:
            self._asked_ms.pop()
        self._asked_ms.extend([now_ms] * (missing - len(self._asked_ms)))

    def _take(self, took_ms: float) -> None:
        if took_ms > COLD_START_MS_MAX:
            return
        weight = NEWEST_WEIGHT if self._is_seen else 1.0
        self.typical_ms += weight * (took_ms - self.typical_ms)
        self._is_seen = True
