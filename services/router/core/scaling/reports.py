"""What routers that share a fleet tell each other, so that they scale it as one."""

from dataclasses import dataclass, field
from enum import StrEnum

from services.common.domain import Role
from services.router.core.scaling.demand import TierDemand


class Standing(StrEnum):
    """What a router does with a worker, where scaling decides that. Who is drained by hand has none."""

    SERVES = "serves"
    STANDS_BY = "stands_by"
    RETIRES = "retires"
    """Drained for good, with work left."""
    RETIRED = "retired"
    """The same, and empty."""


@dataclass(frozen=True, slots=True)
class TierReport:
    """One router's part of one tier's work, and its number of workers."""

    model: str
    tier: Role
    queued_requests: int = 0
    queued_tokens: int = 0
    running_requests: int = 0
    running_tokens: int = 0
    busy_workers: tuple[str, ...] = ()
    """Names of those with prompt tokens of this router's."""
    totals: TierDemand = field(default_factory=TierDemand)
    """Since the router's start."""
    desired: int = 0
    """Workers that should serve, by its own decision or by the one that it follows."""


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What one router does with a worker."""

    worker_id: str
    standing: Standing
    role: Role
    """The one that it has, or takes once it is empty."""


@dataclass(frozen=True, slots=True)
class RouterReport:
    """All that one router tells."""

    run: str
    """Names one life of one router: its totals begin with it."""
    router_id: str
    tiers: tuple[TierReport, ...] = ()
    workers: tuple[WorkerReport, ...] = ()
