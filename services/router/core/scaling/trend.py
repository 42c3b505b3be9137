"""The slope of a noisy rate, which a sudden step does not pass for."""

from collections import deque
from itertools import combinations
from statistics import median

BINS = 12
AGREEING_MIN = 0.9
"""A trend has so many pairs of bins in its own order."""


class Trend:
    """The median slope between all pairs of bins (Theil and Sen), where most pairs agree on rising (Kendall).

    A step lies between at most half of the pairs, so that the median of their slopes stays about zero, where
    averages or least squares would go on climbing.
    """

    def __init__(self, bin_ms: float) -> None:
        self._bin_ms = bin_ms
        self._rates: deque[float] = deque(maxlen=BINS)
        self._amount = self._elapsed_ms = 0.0
        self.slope = 0.0
        """Per millisecond, of a rate per millisecond; 0.0 where nothing rises for certain."""

    def take(self, amount: float, elapsed_ms: float) -> None:
        """So much in so much time."""
        self._amount += amount
        self._elapsed_ms += elapsed_ms
        if self._elapsed_ms < self._bin_ms:
            return
        self._rates.append(self._amount / self._elapsed_ms)
        self._amount = self._elapsed_ms = 0.0
        self.slope = self._median_slope() if len(self._rates) == BINS else 0.0

    def _median_slope(self) -> float:
        pairs = list(combinations(enumerate(self._rates), 2))
        slopes = [(later - earlier) / (j - i) for (i, earlier), (j, later) in pairs]
        if sum(slope > 0 for slope in slopes) < AGREEING_MIN * len(slopes):
            return 0.0
        return max(0.0, median(slopes) / self._bin_ms)
