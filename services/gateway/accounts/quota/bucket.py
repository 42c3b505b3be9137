"""A token bucket of this gateway's own."""

import math

MINUTE_MS = 60_000.0
ROUNDING = 1e-6
"""Share of a token by which a level that was added up in many steps may be off: less missing is none."""


class Bucket:
    """A share of a limit: what it holds at most, and what it gains a minute.

    An amount above the whole share is given when the share is full, and leaves a debt: otherwise a request
    that fits the limit might never fit the share.
    """

    __slots__ = ("_level", "_now_ms", "limit", "share")

    def __init__(self, limit: int, share: float, now_ms: float, level: float | None = None) -> None:
        """`limit` is the tenant's, `share` this gateway's part of it; without `level` it begins full."""
        self.limit = limit
        self.share = share
        self._level = self.size if level is None else min(level, self.size)
        self._now_ms = now_ms

    @property
    def size(self) -> float:
        """What it holds at most."""
        return self.limit * self.share

    def level(self, now_ms: float) -> float:
        """What it holds; negative is a debt."""
        gained = self.size / MINUTE_MS * (now_ms - self._now_ms)
        self._now_ms = now_ms
        self._level = min(self.size, self._level + gained)
        return self._level

    def wait_ms(self, amount: float, now_ms: float) -> float:
        """How long until so much can be given: 0 for at once, infinite for never."""
        missing = min(amount, self.size) - self.level(now_ms)
        if missing <= ROUNDING:
            return 0.0
        return missing * MINUTE_MS / self.size if self.size else math.inf

    def take(self, amount: float) -> None:
        """Give so much away."""
        self._level -= amount

    def give_back(self, amount: float) -> None:
        """Take back what was not used."""
        self._level = min(self.size, self._level + amount)

    def remaining(self, now_ms: float) -> int:
        """What can be given now."""
        return max(0, math.floor(self.level(now_ms)))
