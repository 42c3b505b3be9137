"""Counters and histograms for the request path say what the library's own would say."""

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from services.common.telemetry import tallies

BOUNDS = (0.25, 0.5, 1.0, 10.0)


def exposed(registry: CollectorRegistry) -> list[str]:
    """What is scraped; without the times of creation, which tallies do not keep."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@pytest.mark.parametrize("values", [(), (0.0, 0.25, 0.26, 0.5, 7.0, 10.0, 10.5, 1e9)])
def test_a_histogram_is_exposed_as_the_librarys(values: tuple[float, ...]) -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    their_own = prometheus_client.Histogram("h", "Text", ["a"], buckets=BOUNDS, registry=theirs)
    our_own = tallies.Histogram("h", "Text", ["a"], buckets=BOUNDS, registry=ours)
    for label in ("x", 'y"\n'):
        for value in values:
            their_own.labels(label).observe(value)
            our_own.labels(label).observe(value)
    assert exposed(ours) == exposed(theirs)


def test_a_histogram_without_labels_is_there_before_its_first_value() -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    prometheus_client.Histogram("h", "Text", buckets=BOUNDS, registry=theirs)
    tallies.Histogram("h", "Text", buckets=BOUNDS, registry=ours)
    assert exposed(ours) == exposed(theirs)


def test_a_counter_is_exposed_as_the_librarys() -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    their_own = prometheus_client.Counter("c", "Text", ["a", "b"], registry=theirs)
    our_own = tallies.Counter("c", "Text", ["a", "b"], registry=ours)
    for amount in (1, 2.5, 0):
        their_own.labels("x", "y").inc(amount)
        our_own.labels("x", "y").inc(amount)
    prometheus_client.Counter("d", "Text", registry=theirs)
    tallies.Counter("d", "Text", registry=ours).labels().inc(0)
    assert exposed(ours) == exposed(theirs)
