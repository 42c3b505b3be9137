"""Prometheus metrics of the retrieval hook."""

from prometheus_client import CollectorRegistry, Counter, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """How often passages were looked up, with what success, and how long it took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.look_ups = Counter(
            "pdmesh_gateway_retrievals",
            "Prompts that passages were looked up for: ok, empty, timeout, unavailable, failed or suspended",
            ["status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "pdmesh_gateway_retrieval_seconds",
            "How long a prompt waited for its passages",
            buckets=SECONDS,
            registry=registry,
        )
