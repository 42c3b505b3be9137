"""The router's Prometheus metrics."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from services.common.domain import FinishReason, Path, Role
from services.common.telemetry.tallies import Counter, Histogram
from services.router.core.actions import EndStream, SendPlaced
from services.router.core.scaling.scaling import Scaling
from services.router.core.state import State

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
PHASES = ("queue", "prefill", "handoff", "decode")
_PATHS = {path: path.name.lower() for path in Path}
_OUTCOMES = {reason: reason.name.lower() for reason in FinishReason}


class Metrics:
    """Counters and histograms of what the core decided."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.tokens = Counter("pdmesh_router_tokens", "Tokens sent to gateways", registry=registry).labels()
        self._placed = Counter(
            "pdmesh_router_placements", "Placements by path and reason", ["path", "reason"], registry=registry
        )
        self._ended = Counter(
            "pdmesh_router_requests",
            "Requests by outcome and error reason",
            ["outcome", "reason"],
            registry=registry,
        )
        self._retries = Counter(
            "pdmesh_router_retries", "Placements after a failure", registry=registry
        ).labels()
        phase = Histogram(
            "pdmesh_router_phase_seconds",
            "Time of a request in each phase",
            ["phase"],
            buckets=SECONDS,
            registry=registry,
        )
        self._queue, self._prefill, self._handoff, self._decode = map(phase.labels, PHASES)

    def count(self, action: SendPlaced | EndStream) -> None:
        """Count a placement or an outcome. Reasons come from fixed tables, so the labels are bounded."""
        if isinstance(action, SendPlaced):
            self._placed.labels(_PATHS[action.path], action.path_reason).inc()
            return
        reason = action.error.reason if action.error is not None else ""
        self._ended.labels(_OUTCOMES[action.reason], reason).inc()
        receipt = action.receipt
        self._retries.inc(receipt.retries)
        self._queue.observe(receipt.queue_ms / 1000.0)
        self._prefill.observe(receipt.prefill_ms / 1000.0)
        self._handoff.observe(receipt.handoff_ms / 1000.0)
        self._decode.observe(receipt.decode_ms / 1000.0)


class StateCollector(Collector):
    """Gauges read from the core's state when scraped: in another thread, so collections are copied first."""

    def __init__(self, state: State, scaling: Scaling, now_ms: Callable[[], float]) -> None:
        self._state, self._scaling, self._now_ms = state, scaling, now_ms

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """All gauges, at this moment."""
        state = self._state
        yield GaugeMetricFamily("pdmesh_router_open_requests", "Requests in flight", len(state.flights))
        yield GaugeMetricFamily(
            "pdmesh_router_open_handoffs", "Offers not yet confirmed as released", len(state.ledger)
        )
        yield GaugeMetricFamily(
            "pdmesh_router_stranded_block_seconds",
            "KV blocks of open offers times their age; zero at rest",
            state.ledger.stranded_block_seconds(self._now_ms()),
        )
        yield GaugeMetricFamily(
            "pdmesh_router_unreleased_handoffs",
            "Handoffs over for seconds whose KV is not freed yet; alert on any",
            state.ledger.unreleased(self._now_ms()),
        )
        yield GaugeMetricFamily(
            "pdmesh_router_expired_handoffs", "Leases that ran out unsettled", state.ledger.expired
        )
        yield GaugeMetricFamily(
            "pdmesh_router_canary_mismatches",
            "Prefill-decode pairs whose canaries differed, and which are held; alert on any",
            state.canary_mismatches,
        )
        yield GaugeMetricFamily(
            "pdmesh_router_quarantined_prompts", "Prompts refused for killing workers", len(state.quarantine)
        )
        yield from self._policies()
        yield from self._tiers()
        yield from self._desired()
        yield self._workers()

    def _policies(self) -> Iterator[CounterMetricFamily]:
        timing = self._state.policies.timing
        if timing is not None:
            taken = CounterMetricFamily(
                "pdmesh_router_policy_seconds", "Time taken by each placement policy", labels=["policy"]
            )
            for name, seconds in list(timing.total_s.items()):
                taken.add_metric([name], seconds)
            yield taken

    def _tiers(self) -> Iterator[GaugeMetricFamily]:
        requests = GaugeMetricFamily(
            "pdmesh_router_queue_requests", "Requests waiting for a tier", labels=["model", "tier"]
        )
        tokens = GaugeMetricFamily(
            "pdmesh_router_queue_tokens", "Tokens waiting for a tier", labels=["model", "tier"]
        )
        for pool in list(self._state.fleet.pools.values()):
            for role in (Role.PREFILL, Role.DECODE):
                waiting, waiting_tokens = pool.waiting(role)
                requests.add_metric([pool.model, role.name.lower()], waiting)
                tokens.add_metric([pool.model, role.name.lower()], waiting_tokens)
        yield requests
        yield tokens

    def _desired(self) -> Iterator[GaugeMetricFamily]:
        replicas = GaugeMetricFamily(
            "pdmesh_router_desired_replicas",
            "Workers that there should be for all routers together, spares included: an autoscaler's target",
            labels=["model", "tier"],
        )
        needed = GaugeMetricFamily(
            "pdmesh_router_needed_workers",
            "Workers that the work of all routers asks for, before bounds and patience",
            labels=["model", "tier"],
        )
        for (model, tier), watched in list(self._scaling.tiers.items()):
            if (decision := watched.decision) is not None:
                replicas.add_metric([model, tier.name.lower()], decision.replicas)
                needed.add_metric([model, tier.name.lower()], decision.need)
        yield replicas
        yield needed

    def _workers(self) -> GaugeMetricFamily:
        workers = GaugeMetricFamily(
            "pdmesh_router_workers", "Attached workers", labels=["model", "role", "state"]
        )
        counted: dict[tuple[str, str, str], int] = {}
        for worker in list(self._state.fleet.workers.values()):
            key = (
                worker.registration.fingerprint.model,
                worker.role.name.lower(),
                worker.state.name.lower(),
            )
            counted[key] = counted.get(key, 0) + 1
        for key, number in counted.items():
            workers.add_metric(key, number)
        return workers
