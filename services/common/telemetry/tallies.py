"""Counters and histograms that one thread fills, and any other may read when it is scraped.

For what is counted with each request: `prometheus_client`'s own take a lock and several calls for a number.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

Labels = tuple[str, ...]


class Total:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Count so much."""
        self.value += amount


class Spread:
    """How often values were up to which bound, and their sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Of each bound, those over the one before it; the last are over all."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Take a value in."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class Counter(Collector):
    """A counter's totals, one for each combination of label values."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str] = (), *, registry: CollectorRegistry
    ) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._totals: dict[Labels, Total] = {} if labels else {(): Total()}
        registry.register(self)

    def labels(self, *values: str) -> Total:
        """The total of these label values; without any, of a counter that has none."""
        total = self._totals.get(values)
        if total is None:
            total = self._totals[values] = Total()
        return total

    def collect(self) -> Iterator[CounterMetricFamily]:
        """All totals."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for values, total in list(self._totals.items()):
            family.add_metric(values, total.value)
        yield family


class Histogram(Collector):
    """A histogram's spreads, one for each combination of label values."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name, self._text, self._labels, self._bounds = name, text, labels, buckets
        self._spreads: dict[Labels, Spread] = {} if labels else {(): Spread(buckets)}
        registry.register(self)

    def labels(self, *values: str) -> Spread:
        """The spread of these label values; without any, of a histogram that has none."""
        spread = self._spreads.get(values)
        if spread is None:
            spread = self._spreads[values] = Spread(self._bounds)
        return spread

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """All spreads."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        names = [*map(repr, self._bounds), "+Inf"]
        for values, spread in list(self._spreads.items()):
            sum_value, up_to = spread.sum, accumulate(spread.counts)
            family.add_metric(values, list(zip(names, up_to, strict=True)), sum_value)
        yield family
