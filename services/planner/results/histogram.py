"""Quantiles of many values in little memory: counts in buckets that are one per cent wide."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from math import floor, log

WIDTH = 0.01
LEAST = 1e-3
"""Values below it count as it."""
_LOG_WIDTH = log(1 + WIDTH)
_LOG_LEAST = log(LEAST)


class Histogram:
    """Values of zero or more; a quantile is off by half a per cent at most, mean and extremes are exact."""

    __slots__ = ("_counts", "count", "most", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.most = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Count a value, so many times."""
        bucket = floor((log(value) - _LOG_LEAST) / _LOG_WIDTH) if value > LEAST else 0
        self._counts[bucket] = self._counts.get(bucket, 0) + times
        self.count += times
        self.total += value * times
        if value > self.most:
            self.most = value

    def merge(self, other: "Histogram") -> None:
        """Count all that another has counted."""
        for bucket, times in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + times
        self.count += other.count
        self.total += other.total
        self.most = max(self.most, other.most)

    @property
    def mean(self) -> float:
        """0.0 without values."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """The value below which that share lies; 0.0 without values."""
        if not self.count:
            return 0.0
        buckets = sorted(self._counts)
        sums = list(accumulate(self._counts[bucket] for bucket in buckets))
        at = buckets[min(bisect_left(sums, share * self.count), len(buckets) - 1)]
        return min(_middle(at), self.most)

    def points(self) -> Iterator[tuple[float, float]]:
        """Each bucket's value, and the share of values up to it: the cumulative distribution."""
        below = 0
        for bucket in sorted(self._counts):
            below += self._counts[bucket]
            yield _middle(bucket), below / self.count


def _middle(bucket: int) -> float:
    return float(LEAST * (1 + WIDTH) ** (bucket + 0.5))
