"""How much has been asked for lately."""

import math

DEMAND_MS = 1_000.0
"""Time over which demand is averaged: older demand counts 1/e of newer."""
AHEAD_MS = 500.0
"""So much of the demand is held ready, so that requests need not wait for the next round."""
LARGEST_MS = 10_000.0
"""So long is one more request like the largest of late held ready."""


class Demand:
    """An average that forgets, and the largest request."""

    __slots__ = ("_largest", "_largest_ms", "_recent", "_updated_ms")

    def __init__(self, now_ms: float) -> None:
        self._recent = 0.0
        self._updated_ms = now_ms
        self._largest = 0.0
        self._largest_ms = now_ms

    def note(self, amount: float, now_ms: float) -> None:
        """Take notice that so much is asked for, given or not."""
        self._forget(now_ms)
        self._recent += amount
        if amount >= self._largest:
            self._largest = amount
            self._largest_ms = now_ms

    def ahead(self, now_ms: float, *, is_contended: bool = False) -> int:
        """What to hold ready; 0 once nobody has asked for a while.

        Where another gateway is short, that is what comes in steadily, and nothing for the odd request.
        """
        self._forget(now_ms)
        wish = max(self._recent * AHEAD_MS / DEMAND_MS, 0.0 if is_contended else self._largest)
        return math.ceil(wish) if wish >= 1 else 0

    def _forget(self, now_ms: float) -> None:
        self._recent *= math.exp((self._updated_ms - now_ms) / DEMAND_MS)
        self._updated_ms = now_ms
        if now_ms - self._largest_ms > LARGEST_MS:
            self._largest = 0.0
