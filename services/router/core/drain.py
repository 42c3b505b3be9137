"""How fast a pool's queues drain, for Retry-After."""

import math

TIME_CONSTANT_MS = 10_000.0
RETRY_AFTER_MS_MIN, RETRY_AFTER_MS_MAX = 100, 30_000


class DrainRate:
    """Placements per millisecond, exponentially weighted over the last ten seconds or so.

    The estimate at t is the sum over past placements of exp(-(t - t_i)/T) / T, which tends to the true
    rate of a steady stream.
    """

    def __init__(self) -> None:
        self._weight, self._at_ms = 0.0, 0.0

    def count(self, now_ms: float) -> None:
        """One request has been placed."""
        self._weight = self._decayed(now_ms) + 1.0
        self._at_ms = now_ms

    def _decayed(self, now_ms: float) -> float:
        return self._weight * math.exp(-max(0.0, now_ms - self._at_ms) / TIME_CONSTANT_MS)

    def per_ms(self, now_ms: float) -> float:
        """Placements per millisecond; 0.0 when nothing has been placed."""
        return self._decayed(now_ms) / TIME_CONSTANT_MS

    def retry_after_ms(self, waiting: int, now_ms: float) -> int:
        """When a queue of this length will have drained, within sensible bounds."""
        rate = self.per_ms(now_ms)
        wait_ms = (waiting + 1) / rate if rate > 1e-9 else RETRY_AFTER_MS_MAX
        return int(min(max(wait_ms, RETRY_AFTER_MS_MIN), RETRY_AFTER_MS_MAX))
