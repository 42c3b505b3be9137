"""What the core knows, shared by the modules that tell a request's life."""

from dataclasses import dataclass, field
from random import Random

from services.common.domain import FinishReason
from services.router.core.actions import Action, Announce
from services.router.core.breaker import Breaker
from services.router.core.budget import RetryBudget
from services.router.core.config import CoreConfig
from services.router.core.fleet import Fleet, Pool, Worker
from services.router.core.flight import Flight
from services.router.core.handoffs import HandoffLedger
from services.router.core.pairs import Pairs
from services.router.core.placement import Policies
from services.router.core.quarantine import Quarantine
from services.router.core.scaling.demand import Demand
from services.router.core.timers import Timer, TimerKind, Timers

CANARY_GATEWAY = 0
"""The session under which the sentinel's own requests run; no gateway has it."""

FlightKey = tuple[int, int]
"""Gateway session and stream."""


@dataclass(slots=True)
class State:
    """All of the core's memory, and the actions of the event at hand."""

    config: CoreConfig
    fleet: Fleet
    policies: Policies
    retry_budget: RetryBudget
    flights: dict[FlightKey, Flight] = field(default_factory=dict)
    streams_of: dict[int, set[int]] = field(default_factory=dict)
    """Open streams of each attached gateway."""
    ledger: HandoffLedger = field(default_factory=HandoffLedger)
    timers: Timers = field(default_factory=Timers)
    pairs: Pairs = field(default_factory=Pairs)
    quarantine: Quarantine = field(default_factory=Quarantine)
    canaries_ended: list[tuple[Flight, FinishReason]] = field(default_factory=list)
    canary_mismatches: int = 0
    """Pairs found wrong, and held."""
    random: Random = field(default_factory=Random)
    """Seeded; the core's only chance."""
    dirty_pools: dict[str, Pool] = field(default_factory=dict)
    """Pools whose queues may have become placeable."""
    demand: dict[str, Demand] = field(default_factory=dict)
    """What each pool has been asked for, by model."""
    actions: list[Action] = field(default_factory=list)

    def do(self, action: Action) -> None:
        """Want something done."""
        self.actions.append(action)

    def demand_of(self, model: str) -> Demand:
        """A pool's running totals."""
        demand = self.demand.get(model)
        if demand is None:
            demand = self.demand[model] = Demand()
        return demand

    def expect_progress(self, flight: Flight, due_ms: float) -> None:
        """Have the flight's job looked at when time has come."""
        tokens = len(flight.delivered)
        timer = Timer(TimerKind.PROGRESS, flight.gateway, flight.stream, flight.job_number, tokens)
        self.timers.at(due_ms, timer)

    def breaker_opened(self, worker: Worker, breaker: Breaker, what: str, why: str) -> None:
        """Say so, and have the worker's pool looked at again once the breaker is half-open."""
        self.do(Announce(what, is_shut_out=True, why=why))
        if breaker.open_until_ms is not None:
            self.timers.at(breaker.open_until_ms, Timer(TimerKind.BREAKER, worker.session, 0))

    def worker_succeeded(self, worker: Worker, now_ms: float) -> None:
        """A job has done on a worker what it was to do."""
        if worker.succeeded(now_ms):
            self.do(Announce(worker.title, is_shut_out=False, why="a request has succeeded there"))

    def room_changed(self, worker: Worker | None) -> None:
        """A worker has more room than before."""
        if worker is not None:
            self.policies.room_changed(worker)
            model = worker.registration.fingerprint.model
            self.dirty_pools[model] = self.fleet.pools[model]
