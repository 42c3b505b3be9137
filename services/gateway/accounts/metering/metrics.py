"""Prometheus metrics of metering."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class MeteringMetrics:
    """What became of what was booked."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.counted = Counter(
            "pdmesh_gateway_usage_counted", "Requests whose use the store has counted", registry=registry
        )
        self.repeated = Counter(
            "pdmesh_gateway_usage_repeated",
            "Requests booked again and passed over by the store: it had counted them",
            registry=registry,
        )
        self.lost = Counter(
            "pdmesh_gateway_usage_lost",
            "Requests whose use is in no file and did not fit in memory while the store was away",
            registry=registry,
        )
        self.adopted = Counter(
            "pdmesh_gateway_usage_adopted",
            "Requests whose use was found in the file of a gateway that has died",
            registry=registry,
        )
        self.store_up = Gauge(
            "pdmesh_gateway_usage_store_up",
            "1 while use is counted, 0 while the store is away and it waits",
            registry=registry,
        )
        self._waiting = Gauge(
            "pdmesh_gateway_usage_waiting", "Requests whose use waits for the store", registry=registry
        )

    def watch(self, waiting: Callable[[], float]) -> None:
        """Read the gauge of what others count when scraped."""
        self._waiting.set_function(waiting)
