"""A worker's Prometheus metrics."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric, UnknownMetricFamily
from prometheus_client.registry import Collector

from services.common.domain import LoadReport, StepOutput

TRANSFER_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Counters and histograms of what the engine reports."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tokens = Counter("pdmesh_worker_tokens", "Tokens generated", registry=registry)
        self._jobs = Counter(
            "pdmesh_worker_jobs",
            "Jobs by outcome: offered, stop, length, failure kind",
            ["outcome"],
            registry=registry,
        )
        self._handoffs = Counter(
            "pdmesh_worker_handoffs",
            "Handoffs by event: offered, released, expired, adopted",
            ["event"],
            registry=registry,
        )
        self._kv_bytes = Counter("pdmesh_worker_kv_adopted_bytes", "KV bytes taken over", registry=registry)
        self._transfer = Histogram(
            "pdmesh_worker_handoff_transfer_seconds",
            "Time to take one KV over",
            buckets=TRANSFER_SECONDS,
            registry=registry,
        )

    def count(self, step: StepOutput) -> None:
        """Count one step; labels come from enums, so they are bounded."""
        self._tokens.inc(len(step.tokens.token_ids) + sum(len(o.token_ids) for o in step.offered))
        for finished in step.finished:
            self._jobs.labels(finished.reason.name.lower()).inc()
        for failed in step.failed:
            self._jobs.labels(f"failed_{failed.kind.name.lower()}").inc()
        if step.offered or step.adopted or step.released:
            self._count_handoffs(step)

    def _count_handoffs(self, step: StepOutput) -> None:
        self._jobs.labels("offered").inc(len(step.offered))
        self._handoffs.labels("offered").inc(len(step.offered))
        for adopted in step.adopted:
            self._handoffs.labels("adopted").inc()
            self._kv_bytes.inc(adopted.kv_size_bytes)
            self._transfer.observe(adopted.transfer_ms / 1e3)
        for released in step.released:
            self._handoffs.labels("expired" if released.expired else "released").inc()


class EngineCollector(Collector):
    """Gauges read from the engine when scraped."""

    def __init__(self, newest_load: Callable[[], LoadReport], stats: Callable[[], dict[str, float]]) -> None:
        self._newest_load, self._stats = newest_load, stats

    def collect(self) -> Iterator[Metric]:
        """All gauges, at this moment."""
        load = self._newest_load()
        requests = GaugeMetricFamily("pdmesh_worker_requests", "Requests in the engine", labels=["state"])
        requests.add_metric(["running"], load.running_requests)
        requests.add_metric(["waiting"], load.waiting_requests)
        yield requests
        blocks = GaugeMetricFamily("pdmesh_worker_kv_blocks", "KV blocks", labels=["state"])
        blocks.add_metric(["free"], load.kv_blocks_free)
        blocks.add_metric(["used"], load.kv_blocks_total - load.kv_blocks_free)
        yield blocks
        yield GaugeMetricFamily(
            "pdmesh_worker_step_seconds", "Mean of recent engine steps", load.step_ms / 1e3
        )
        yield GaugeMetricFamily(
            "pdmesh_worker_queued_prefill_tokens",
            "Prompt tokens not computed yet",
            load.queued_prefill_tokens,
        )
        for name, value in self._stats().items():
            yield UnknownMetricFamily(f"pdmesh_worker_{name}", "A number of this kind of engine", value)
