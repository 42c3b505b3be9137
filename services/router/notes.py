"""What a router posts for the others: who waits where, for people; its part of the work, for the scaler."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from services.common.domain import Role
from services.router.core.fleet import Pool
from services.router.core.scaling.demand import TierDemand
from services.router.core.scaling.reports import RouterReport, Standing, TierReport, WorkerReport
from services.router.core.state import State


@dataclass(frozen=True, slots=True)
class QueueNote:
    """One tier's queue at one router."""

    model: str
    role: Role
    requests: int
    tokens: int
    oldest_wait_ms: float
    """Of those waiting now; 0 while nobody does."""
    wait_ms_max: int
    """Who has waited so long is refused."""


@dataclass(frozen=True, slots=True)
class RouterNote:
    """What one router posts."""

    router_id: str
    open_requests: int
    queues: tuple[QueueNote, ...]
    scaling: RouterReport | None = None
    number: int = 0
    """Rises with each time that it is posted, which shows that its router lives."""

    def to_bytes(self) -> bytes:
        """As it is posted."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, posted: bytes) -> "RouterNote | None":
        """A posted note; None for what another version wrote and we cannot read."""
        try:
            found = json.loads(posted)
            queues = tuple(QueueNote(**queue | {"role": Role(queue["role"])}) for queue in found["queues"])
            told = found.get("scaling")
            report = _report(told) if told is not None else None
            return cls(found["router_id"], found["open_requests"], queues, report, found.get("number", 0))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def note_of(state: State, report: RouterReport, now_ms: float) -> RouterNote:
    """This router's own note."""
    queues = [
        _queue_note(pool, role, state.config.limits.queue_wait_ms_max, now_ms)
        for pool in state.fleet.pools.values()
        for role in (Role.PREFILL, Role.DECODE)
    ]
    return RouterNote(report.router_id, len(state.flights), tuple(queues), report)


def _queue_note(pool: Pool, role: Role, wait_ms_max: int, now_ms: float) -> QueueNote:
    queue = pool.prefill_queue if role is Role.PREFILL else pool.decode_queue
    since_ms = min((flight.waiting_since_ms for flight in queue), default=now_ms)
    return QueueNote(pool.model, role, len(queue), queue.tokens, now_ms - since_ms, wait_ms_max)


def _report(found: dict[str, Any]) -> RouterReport:
    tiers = tuple(_tier(tier) for tier in found["tiers"])
    workers = tuple(
        WorkerReport(worker["worker_id"], Standing(worker["standing"]), Role(worker["role"]))
        for worker in found["workers"]
    )
    return RouterReport(found["run"], found["router_id"], tiers, workers)


def _tier(found: dict[str, Any]) -> TierReport:
    read = {"tier": Role(found["tier"]), "totals": TierDemand(**found["totals"])}
    return TierReport(**found | read | {"busy_workers": tuple(found["busy_workers"])})
