"""Measured rates and means, for projections and for Retry-After."""

import math

TIME_CONSTANT_MS = 10_000.0
RETRY_AFTER_MS_MIN, RETRY_AFTER_MS_MAX = 100, 30_000
EVENTS_MEASURED_MIN = 3.0
MEAN_WEIGHT = 0.1


class Rate:
    """Something per millisecond, exponentially weighted over the last ten seconds or so.

    The estimate at t is the sum over past amounts a_i of a_i exp(-(t - t_i)/T) / T, which tends to the
    true rate of a steady stream.
    """

    def __init__(self) -> None:
        self._amount = self._events = self._at_ms = 0.0

    def count(self, now_ms: float, amount: float = 1.0) -> None:
        """So much has happened."""
        decay = self._decay(now_ms)
        self._amount = self._amount * decay + amount
        self._events = self._events * decay + 1.0
        self._at_ms = now_ms

    def _decay(self, now_ms: float) -> float:
        return math.exp(-max(0.0, now_ms - self._at_ms) / TIME_CONSTANT_MS)

    def per_ms(self, now_ms: float) -> float:
        """The rate; 0.0 when nothing has happened."""
        return self._amount * self._decay(now_ms) / TIME_CONSTANT_MS

    def is_measured(self, now_ms: float) -> bool:
        """Whether enough has happened lately to believe the rate."""
        return self._events * self._decay(now_ms) >= EVENTS_MEASURED_MIN

    def retry_after_ms(self, amount: float, now_ms: float) -> int:
        """When so much will have happened, within sensible bounds."""
        rate = self.per_ms(now_ms)
        wait_ms = (amount + 1) / rate if rate > 1e-9 else RETRY_AFTER_MS_MAX
        return int(min(max(wait_ms, RETRY_AFTER_MS_MIN), RETRY_AFTER_MS_MAX))


class Mean:
    """An exponentially weighted mean; 0.0 until the first sample."""

    def __init__(self) -> None:
        self.value = 0.0
        self._is_empty = True

    def add(self, sample: float) -> None:
        """Take a sample in."""
        weight = 1.0 if self._is_empty else MEAN_WEIGHT
        self.value += weight * (sample - self.value)
        self._is_empty = False
