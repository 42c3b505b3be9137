"""Reads a tier's signal from the fleet."""

from collections.abc import Collection, Iterable

from services.common.domain import Role
from services.router.core.fleet import Pool, Worker, WorkerState
from services.router.core.scaling.demand import TierDemand
from services.router.core.scaling.signal import TierSignal


def is_of_tier(worker: Worker, tier: Role) -> bool:
    """Whether a worker does a tier's work, or will once its flip is done."""
    role = worker.flips_to or worker.role
    return role.can_decode() if tier is Role.DECODE else role.can_prefill_for_others()


def observe(
    pool: Pool, tier: Role, totals: TierDemand, retiring: Collection[int], now_ms: float
) -> TierSignal:
    """The signal of a tier; `retiring` are the sessions of workers that are being taken away."""
    members = [w for w in pool.workers.values() if is_of_tier(w, tier)]
    serving = [w for w in members if w.is_serving and not w.breaker.is_open(now_ms)]
    queued, queued_tokens = pool.waiting(tier)
    at_hand = (w for w in members if w.state is WorkerState.STANDBY or w.session in retiring)
    busy = tuple(w.worker_id for w in members if w.prefill_tokens_taken)
    return TierSignal(
        serving=len(serving),
        at_hand=sum(1 for w in at_hand if not w.leaves and w.flips_to is None),
        attached=count_attached(pool, tier),
        queued_requests=queued,
        queued_tokens=queued_tokens,
        running_requests=_running(members, tier),
        running_tokens=sum(w.prefill_tokens_taken for w in members),
        busy=len(busy),
        busy_workers=busy,
        # Whole workers, whatever part of them is lent to other routers: they count their own requests.
        slots=sum(w.registration.capacity.max_running_requests for w in serving),
        blocks=sum(w.registration.capacity.kv_blocks for w in serving),
        steps=tuple(_steps(serving)) if tier is Role.DECODE else (),
        totals=totals,
    )


def count_attached(pool: Pool, tier: Role) -> int:
    """Workers of a tier that are to stay, whoever drains the others."""
    members = (w for w in pool.workers.values() if is_of_tier(w, tier))
    return sum(1 for w in members if w.state is not WorkerState.DRAINING)


def _running(members: Iterable[Worker], tier: Role) -> int:
    """Requests at workers; those of a worker with both roles hold decode seats."""
    return sum(w.slots_taken for w in members if tier is Role.DECODE or w.role is Role.PREFILL)


def _steps(serving: Iterable[Worker]) -> Iterable[tuple[int, float]]:
    loads = (w.load for w in serving)
    return ((load.running_requests, load.step_ms) for load in loads if load.running_requests and load.step_ms)
