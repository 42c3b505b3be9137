"""The gateway's Prometheus metrics."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge

from services.common.telemetry.tallies import Counter, Histogram
from services.gateway.call.metrics import FROM_REQUEST_S, NO_OBJECTIVES, AnswerMetrics, Objectives

LAG_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RecordMetrics:
    """What records of requests were lost."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.lines_lost = Counter(
            "pdmesh_gateway_request_log_lost",
            "Lines of the request log that the disk of --request-log-dir did not take",
            registry=registry,
        ).labels()
        self.spans_lost = Counter(
            "pdmesh_gateway_spans_lost",
            "Requests of which no spans were made, since too many waited for the collector of traces",
            registry=registry,
        ).labels()


class Metrics:
    """Counters, gauges and histograms; none is touched once per token."""

    def __init__(self, registry: CollectorRegistry, objectives: Objectives = NO_OBJECTIVES) -> None:
        self.registry = registry
        self.answers = AnswerMetrics(registry, objectives)
        self.records = RecordMetrics(registry)
        self._requests = Counter(
            "pdmesh_gateway_requests",
            "HTTP requests by route and status",
            ["route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "pdmesh_gateway_request_seconds",
            "From a request's last byte to its answer's last",
            ["route"],
            buckets=FROM_REQUEST_S,
            registry=registry,
        )
        self._refusals = Counter(
            "pdmesh_gateway_refusals",
            "Requests that got an error, by route and the error's reason",
            ["route", "reason"],
            registry=registry,
        )
        self.slow_readers = Counter(
            "pdmesh_gateway_slow_readers", "Clients cut off because they did not read", registry=registry
        ).labels()
        self.idempotent = Counter(
            "pdmesh_gateway_idempotent_requests",
            "Requests with an idempotency key: ran, joined (running here), replayed (finished here), "
            "followed (of another gateway), alone (ran while the store was away)",
            ["how"],
            registry=registry,
        )
        self._kept_bytes = Gauge(
            "pdmesh_gateway_idempotency_kept_bytes", "Answers kept for idempotency keys", registry=registry
        )
        self.loop_lag_seconds = Histogram(
            "pdmesh_gateway_loop_lag_seconds",
            "How late the event loop wakes what sleeps, 4 times a second: above 0.05 something holds it up",
            buckets=LAG_S,
            registry=registry,
        ).labels()
        self._bodies_bytes = Gauge(
            "pdmesh_gateway_bodies_bytes",
            "Request bodies that have come and that nothing has been made of yet",
            registry=registry,
        )
        self._rendering_bytes = Gauge(
            "pdmesh_gateway_rendering_bytes",
            "Long bodies and prompts that wait for a thread or are in one",
            registry=registry,
        )
        self._open_streams = Gauge(
            "pdmesh_gateway_open_streams", "Requests in flight at the router", registry=registry
        )
        self._paused_clients = Gauge(
            "pdmesh_gateway_paused_clients", "Connections held back for a slow client", registry=registry
        )
        self._connections = Gauge("pdmesh_gateway_connections", "Open HTTP connections", registry=registry)
        self._router_attached = Gauge(
            "pdmesh_gateway_router_attached", "1 while a router is connected", registry=registry
        )

    def watch(
        self,
        *,
        streams: Callable[[], float],
        connections: Callable[[], float],
        paused: Callable[[], float],
        attached: Callable[[], float],
        kept_bytes: Callable[[], float],
        bodies_bytes: Callable[[], float],
        rendering_bytes: Callable[[], float],
    ) -> None:
        """Read the gauges of what others count when scraped."""
        self._open_streams.set_function(streams)
        self._connections.set_function(connections)
        self._paused_clients.set_function(paused)
        self._router_attached.set_function(attached)
        self._kept_bytes.set_function(kept_bytes)
        self._bodies_bytes.set_function(bodies_bytes)
        self._rendering_bytes.set_function(rendering_bytes)

    def count(self, route: str, status: int, took_ms: float) -> None:
        """Count one request. Routes come from the routing table, so the labels are bounded."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(took_ms / 1000.0)

    def count_refusal(self, route: str, reason: str) -> None:
        """Count a request that got an error. Reasons come from the error table."""
        self._refusals.labels(route, reason).inc()
