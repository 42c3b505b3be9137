"""Gauges of the router's state, read when they are scraped."""

from collections import Counter as Occurrences
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from services.router.core.scaling.scaling import Scaling
from services.router.core.state import State
from services.router.fleet_view import FleetView, ModelView, TierView, view_of
from services.router.verdict import findings

PAIRS_SHOWN_MAX = 256
"""Pairs with most failures come first, so that a large fleet's metrics stay bounded."""


class StateCollector(Collector):
    """Gauges read from the core's state when scraped: in another thread, so collections are copied first."""

    def __init__(
        self,
        state: State,
        scaling: Scaling,
        now_ms: Callable[[], float],
        store_is_away: Callable[[], bool] = lambda: False,
        given_up: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._state, self._scaling, self._now_ms, self._store_is_away = state, scaling, now_ms, store_is_away
        self._given_up = given_up

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """All gauges, at this moment."""
        away, given_up = self._store_is_away(), self._given_up()
        view = view_of(self._state, self._scaling, self._now_ms(), store_is_away=away, given_up=given_up)
        yield GaugeMetricFamily("pdmesh_router_open_requests", "Requests in flight", view.open_requests)
        yield from _handoffs(view)
        yield GaugeMetricFamily(
            "pdmesh_router_canary_mismatches",
            "Prefill-decode pairs whose canaries differed, and which are held; alert on any",
            self._state.canary_mismatches,
        )
        yield GaugeMetricFamily(
            "pdmesh_router_quarantined_prompts",
            "Prompts refused for killing workers",
            view.quarantined_prompts,
        )
        yield GaugeMetricFamily(
            "pdmesh_router_store_up", "0 while the store (Redis) is away; 1 otherwise", 1 - view.store_is_away
        )
        yield from self._policies()
        yield from (_of_tiers(view, wanted) for wanted in _TIER_GAUGES)
        yield from self._desired()
        yield _workers(view)
        yield _findings(view)
        yield from _pairs(view)

    def _policies(self) -> Iterator[CounterMetricFamily]:
        timing = self._state.policies.timing
        if timing is not None:
            taken = CounterMetricFamily(
                "pdmesh_router_policy_seconds", "Time taken by each placement policy", labels=["policy"]
            )
            for name, seconds in list(timing.total_s.items()):
                taken.add_metric([name], seconds)
            yield taken

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
        at_most = GaugeMetricFamily(
            "pdmesh_router_replicas_max", "Workers that the rules allow at most", labels=["model", "tier"]
        )
        cold_start = GaugeMetricFamily(
            "pdmesh_router_cold_start_seconds",
            "From asking for a worker to having it, as measured or, before that, as configured",
            labels=["model", "tier"],
        )
        for (model, tier), watched in list(self._scaling.tiers.items()):
            labels = [model, tier.name.lower()]
            at_most.add_metric(labels, watched.scaler.rules.replicas_max)
            if (decision := watched.decision) is not None:
                replicas.add_metric(labels, decision.replicas)
                needed.add_metric(labels, decision.need)
                cold_start.add_metric(labels, decision.cold_start_ms / 1e3)
        yield from (replicas, needed, at_most, cold_start)


@dataclass(frozen=True, slots=True)
class TierGauge:
    """One number of each tier of each model."""

    name: str
    help_text: str
    of: Callable[[TierView], float]


_TIER_GAUGES = (
    TierGauge(
        "pdmesh_router_queue_requests", "Requests waiting for a tier", lambda tier: tier.queued_requests
    ),
    TierGauge("pdmesh_router_queue_tokens", "Tokens waiting for a tier", lambda tier: tier.queued_tokens),
    TierGauge(
        "pdmesh_router_queue_oldest_seconds",
        "How long the oldest request in a tier's queue has waited",
        lambda tier: tier.oldest_wait_ms / 1e3,
    ),
    TierGauge(
        "pdmesh_router_engine_queue_tokens",
        "Prompt tokens that wait inside a tier's engines, behind the queue",
        lambda tier: tier.engine_tokens,
    ),
    TierGauge(
        "pdmesh_router_prefill_wait_seconds",
        "How long a prompt that comes now waits until those before it are computed; 0 until measured",
        lambda tier: tier.prefill_wait_ms / 1e3,
    ),
    TierGauge(
        "pdmesh_router_serving_workers", "Workers that take a tier's work", lambda tier: len(tier.serving)
    ),
    TierGauge(
        "pdmesh_router_attached_workers",
        "Workers of a tier that are to stay: serving, spare or suspended",
        lambda tier: sum(worker.state != "draining" for worker in tier.workers),
    ),
    TierGauge(
        "pdmesh_router_seats",
        "Requests that a tier's serving workers run at once at most",
        lambda tier: _sum(tier, "slots"),
    ),
    TierGauge(
        "pdmesh_router_seats_taken",
        "Requests that hold a seat in a tier",
        lambda tier: _sum(tier, "slots_taken"),
    ),
    TierGauge(
        "pdmesh_router_kv_blocks",
        "KV blocks of a tier's serving workers",
        lambda tier: _sum(tier, "kv_blocks"),
    ),
    TierGauge(
        "pdmesh_router_kv_blocks_reserved",
        "KV blocks that this router's requests have reserved in a tier",
        lambda tier: _sum(tier, "kv_blocks_taken"),
    ),
)


def _sum(tier: TierView, name: str) -> int:
    return sum(getattr(worker, name) for worker in tier.serving)


def _of_tiers(view: FleetView, wanted: TierGauge) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(wanted.name, wanted.help_text, labels=["model", "tier"])
    for tier in (tier for model in view.models for tier in _tiers_of(model)):
        gauge.add_metric([tier.model, tier.role.name.lower()], wanted.of(tier))
    return gauge


def _tiers_of(model: ModelView) -> tuple[TierView, ...]:
    return (model.prefill,) if model.gives_vectors else model.tiers


def _handoffs(view: FleetView) -> Iterator[GaugeMetricFamily]:
    handoffs = view.handoffs
    yield GaugeMetricFamily(
        "pdmesh_router_open_handoffs", "Offers not yet confirmed as released", handoffs.open
    )
    yield GaugeMetricFamily(
        "pdmesh_router_stranded_block_seconds",
        "KV blocks of open offers times their age; zero at rest",
        handoffs.stranded_block_seconds,
    )
    yield GaugeMetricFamily(
        "pdmesh_router_unreleased_handoffs",
        "Handoffs over for seconds whose KV is not freed yet; alert on any",
        handoffs.unreleased,
    )
    yield GaugeMetricFamily(
        "pdmesh_router_expired_handoffs", "Leases that ran out unsettled", handoffs.expired
    )


def _workers(view: FleetView) -> GaugeMetricFamily:
    workers = GaugeMetricFamily(
        "pdmesh_router_workers", "Attached workers", labels=["model", "role", "state"]
    )
    counted = Occurrences((worker.model, worker.role.name.lower(), worker.state) for worker in view.workers)
    for key, number in counted.items():
        workers.add_metric(key, number)
    return workers


def _findings(view: FleetView) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(
        "pdmesh_router_findings",
        "What holds requests up or is unwell, by kind, as `pdmesh doctor` says it",
        labels=["model", "kind", "severity"],
    )
    counted = Occurrences((found.model, found.kind, found.severity.name.lower()) for found in findings(view))
    for key, number in counted.items():
        gauge.add_metric(key, number)
    return gauge


def _pairs(view: FleetView) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
    labels = ["prefill_worker", "decode_worker"]
    handoffs = CounterMetricFamily("pdmesh_router_pair_handoffs", "Handoffs of a pair", labels=labels)
    failures = CounterMetricFamily("pdmesh_router_pair_failures", "Failed handoffs of a pair", labels=labels)
    seconds = GaugeMetricFamily(
        "pdmesh_router_pair_handoff_seconds", "Mean time from offer to adoption of late", labels=labels
    )
    speed = GaugeMetricFamily(
        "pdmesh_router_pair_gigabytes_per_second", "Mean speed of the pull alone, of late", labels=labels
    )
    closed = GaugeMetricFamily(
        "pdmesh_router_pair_usable",
        "0 while a pair hands nothing over: its breaker is open, or it was refused",
        labels=labels,
    )
    shown = sorted(view.pairs, key=lambda pair: (-pair.failures, pair.prefill_worker, pair.decode_worker))
    for pair in shown[:PAIRS_SHOWN_MAX]:
        names = [pair.prefill_worker, pair.decode_worker]
        handoffs.add_metric(names, pair.handoffs)
        failures.add_metric(names, pair.failures)
        seconds.add_metric(names, pair.handoff_ms / 1e3)
        speed.add_metric(names, pair.transfer_gb_per_s)
        closed.add_metric(names, pair.breaker != "open" and not pair.refusal)
    yield from (handoffs, failures, seconds, speed, closed)
