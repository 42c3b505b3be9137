"""What came of a run, as numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.common.domain import Role
from services.planner.results.histogram import Histogram
from services.planner.results.series import Series
from services.planner.results.tally import Tally
from services.planner.slo import Bound, Slo
from services.planner.world.fleet import FleetWorld
from services.planner.world.worker import FleetWorker

QUANTILES = (0.5, 0.95, 0.99)
HOUR_MS = 3_600_000.0


@dataclass(frozen=True, slots=True)
class TierOutcome:
    """What one tier's workers did."""

    role: str
    workers: int
    """At the end."""
    gpus: int
    """Of one worker."""
    utilisation: float
    """Share of their time in steps."""
    running_mean: float
    """Sequences that decoded, per worker and over all its time."""
    kv_occupancy: float
    """Share of KV blocks held, while in steps."""
    preemptions: int
    queue_mean: float
    """Requests that wait at the router for this tier, over time."""
    queue_max: int
    source: str
    """Of its timings."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All of it. `tally` and `series` are for plots and for whoever wants other quantiles."""

    tally: Tally
    gaps_ms: Histogram
    tiers: tuple[TierOutcome, ...]
    seconds: float
    """Of load that was counted."""
    gpu_hours: float
    price_per_gpu_hour: float
    unfinished: int
    """Requests that had no end when the run ended."""
    series: Series = field(repr=False)

    @property
    def slo(self) -> Slo | None:
        """What was promised."""
        return self.tally.slo

    def quantile_ms(self, bound: Bound) -> float:
        """Of the time that a bound is on."""
        return self.tally.time(bound.time).quantile(bound.quantile)

    @property
    def meets_slo(self) -> bool:
        """Whether every bound holds and enough requests were answered."""
        if self.slo is None or not self.tally.answered:
            return False
        if any(self.quantile_ms(bound) > bound.bound_ms for bound in self.slo.bounds):
            return False
        return self.tally.served >= self.slo.served and not self.unfinished

    @property
    def goodput_per_s(self) -> float:
        """Requests a second that kept every bound."""
        return self.tally.met / self.seconds if self.seconds else 0.0

    @property
    def answer_tokens_per_s(self) -> float:
        """Of all answers."""
        return self.tally.answer_tokens / self.seconds if self.seconds else 0.0

    @property
    def gpus_mean(self) -> float:
        """GPUs in use, over the time counted."""
        return self.gpu_hours * 3_600 / self.seconds if self.seconds else 0.0

    @property
    def cost_per_hour(self) -> float:
        """Dollars for the GPUs."""
        return self.gpus_mean * self.price_per_gpu_hour

    @property
    def cost_per_million_tokens(self) -> float:
        """Dollars for the GPUs, by generated tokens; infinite where there are none."""
        per_hour = self.answer_tokens_per_s * 3_600
        return self.cost_per_hour / per_hour * 1e6 if per_hour else float("inf")

    def to_json(self) -> dict[str, Any]:
        """Everything but the series."""
        tally = self.tally
        times = {name: _times(tally.time(name)) for name in ("ttft", "tpot", "e2e")}
        cost = self.cost_per_million_tokens
        return {
            "slo": str(self.slo) if self.slo else None,
            "meets_slo": self.meets_slo if self.slo else None,
            "slo_attainment": tally.attainment,
            "served": tally.served,
            "requests": {"asked": tally.asked, "answered": tally.answered, "unfinished": self.unfinished},
            "refusals": dict(tally.refusals),
            **{f"{name}_ms": value for name, value in times.items()},
            "gap_ms": _times(self.gaps_ms),
            "goodput_per_s": self.goodput_per_s,
            "requests_per_s": tally.answered / self.seconds if self.seconds else 0.0,
            "answer_tokens_per_s": self.answer_tokens_per_s,
            "answer_tokens_per_s_per_gpu": self.answer_tokens_per_s / self.gpus_mean if self.gpus_mean else 0,
            "tiers": [_tier(tier) for tier in self.tiers],
            "gpus_mean": self.gpus_mean,
            "gpu_hours": self.gpu_hours,
            "cost_per_hour": self.cost_per_hour,
            "cost_per_million_tokens": cost if cost != float("inf") else None,
            "simulated_s": self.seconds,
        }


def outcome_of(world: FleetWorld, until_ms: float, from_ms: float, price_per_gpu_hour: float) -> Outcome:
    """Read a world that has run; the load ended at `until_ms`."""
    everyone = [*world.gone, *world.workers.values()]
    gaps = Histogram()
    for worker in everyone:
        gaps.merge(worker.engine.meter.gaps_ms)
    gpu_ms = sum(
        max(0.0, min(w.detached_ms or until_ms, until_ms) - max(w.attached_ms, from_ms))
        * world.engines[w.registration.role].gpus
        for w in everyone
    )
    return Outcome(
        tally=world.tally,
        gaps_ms=gaps,
        tiers=tuple(_tier_outcome(world, role) for role in world.engines if _workers(world, role)),
        seconds=(until_ms - from_ms) / 1e3,
        gpu_hours=gpu_ms / HOUR_MS,
        price_per_gpu_hour=price_per_gpu_hour,
        unfinished=len(world.callers),
        series=world.tally.series,
    )


def _workers(world: FleetWorld, role: Role) -> list[FleetWorker]:
    return [w for w in (*world.gone, *world.workers.values()) if w.registration.role is role]


def _tier_outcome(world: FleetWorld, role: Role) -> TierOutcome:
    workers, engine = _workers(world, role), world.engines[role]
    lived_ms = sum((w.detached_ms or world.now_ms) - w.attached_ms for w in workers) or 1.0
    meters = [w.engine.meter for w in workers]
    busy_ms = sum(m.busy_ms for m in meters)
    queue = world.queues[role]
    return TierOutcome(
        role=role.name.lower(),
        workers=sum(w.detached_ms is None for w in workers),
        gpus=engine.gpus,
        utilisation=busy_ms / lived_ms,
        running_mean=sum(m.sequence_ms for m in meters) / lived_ms,
        kv_occupancy=sum(m.block_ms for m in meters) / (busy_ms or 1.0) / engine.limits.kv_blocks,
        preemptions=sum(m.preemptions for m in meters),
        queue_mean=queue.mean,
        queue_max=int(queue.most),
        source=engine.times.source,
    )


def _times(histogram: Histogram) -> dict[str, float]:
    found = {f"p{q * 100:g}": histogram.quantile(q) for q in QUANTILES}
    return {**found, "mean": histogram.mean, "max": histogram.most}


def _tier(tier: TierOutcome) -> Mapping[str, Any]:
    return {name: getattr(tier, name) for name in TierOutcome.__slots__}
