"""Scaling of all pools: watches each tier, decides, and says what to do with the workers that are there."""

from collections import OrderedDict
from dataclasses import dataclass, field, replace

from services.common.domain import Role
from services.common.errors import OperationRefused
from services.router.core.events import RoutersSeen, SetRole
from services.router.core.fleet import Pool, Worker
from services.router.core.operations import Operations
from services.router.core.scaling.observe import count_attached, observe
from services.router.core.scaling.peers import Key, Peers
from services.router.core.scaling.rebalance import Rebalancer
from services.router.core.scaling.reports import RouterReport, TierReport, WorkerReport
from services.router.core.scaling.rules import ScalingConfig, TierRules
from services.router.core.scaling.signal import TierSignal
from services.router.core.scaling.steward import Steward
from services.router.core.scaling.tier import Decision, TierScaler
from services.router.core.state import State

TIERS = (Role.PREFILL, Role.DECODE)
ADVISED_MAX = 64
"""Tiers under rules of somebody else's that are watched; past it the one longest unasked is forgotten."""
ADVICE_TTL_MS = 600_000.0
"""A tier under such rules that nobody has asked about for so long is forgotten."""

MOVING_MS = 2_000.0
"""After requests have moved from one router to another, the other's last report may count them once more."""

Advised = tuple[str, Role, TierRules]


@dataclass(slots=True)
class Watched:
    """One tier's scaler and what it said last."""

    scaler: TierScaler
    signal: TierSignal = field(default_factory=TierSignal)
    decision: Decision | None = None
    asked_ms: float = 0.0


class Scaling:
    """Asked at every tick; does something once per interval."""

    def __init__(self, state: State, operations: Operations) -> None:
        self._state, self._operations = state, operations
        self.config: ScalingConfig = state.config.scaling
        self.tiers: dict[Key, Watched] = {}
        """By model and tier, under the router's own rules."""
        self.steward = Steward()
        self.peers = Peers()
        self.drivers: set[int] = set()
        """Sessions of those who start and end workers by what is decided here."""
        self._advised: OrderedDict[Advised, Watched] = OrderedDict()
        self._rebalancers: dict[str, Rebalancer] = {}
        self._due_ms = float("-inf")
        self._decides_until_ms = float("inf")

    def routers_seen(self, seen: RoutersSeen, now_ms: float) -> None:
        """Who else there is. A router that is never told anything is alone, and decides."""
        self.peers.take(seen.reports, seen.decider, now_ms)
        self._decides_until_ms = seen.decides_until_ms

    def decides(self, now_ms: float) -> bool:
        """Whether what is wanted here is what the whole fleet is to be."""
        return now_ms < self._decides_until_ms and not self.peers.is_blind(now_ms)

    def stoppable(self) -> list[Worker]:
        """Drained workers with nothing left to do, for any router."""
        return [w for w in self.steward.stoppable() if not self.peers.hold(w.worker_id)]

    def report(self, run: str, router_id: str, now_ms: float) -> RouterReport:
        """What the other routers are to know."""
        tiers = (
            self._tier_report(model, tier, w.decision.desired, now_ms)
            for (model, tier), w in self.tiers.items()
            if w.decision is not None
        )
        workers = (
            WorkerReport(worker.worker_id, standing, worker.flips_to or worker.role)
            for worker in self._state.fleet.workers.values()
            if (standing := self.steward.standing(worker)) is not None
        )
        return RouterReport(run, router_id, tuple(tiers), tuple(workers))

    def _tier_report(self, model: str, tier: Role, desired: int, now_ms: float) -> TierReport:
        own = self._observe(self._state.fleet.pools[model], tier, now_ms)
        return TierReport(
            model,
            tier,
            own.queued_requests,
            own.queued_tokens,
            own.running_requests,
            own.running_tokens,
            own.busy_workers,
            replace(own.totals),
            desired,
        )

    def rules_of(self, tier: Role) -> TierRules:
        """The router's own rules."""
        return self.config.decode if tier is Role.DECODE else self.config.prefill

    def advice(self, model: str, tier: Role, rules: TierRules, now_ms: float) -> Watched:
        """A tier under rules of the asker's, watched from the first question on."""
        key = (model, tier, rules)
        watched = self._advised.get(key)
        if watched is None:
            watched = self._advised[key] = Watched(TierScaler(tier, rules))
            if len(self._advised) > ADVISED_MAX:
                self._advised.popitem(last=False)
            if (pool := self._state.fleet.pools.get(model)) is not None:
                self._judge(watched, pool, tier, now_ms)
        watched.asked_ms = now_ms
        self._advised.move_to_end(key)
        return watched

    def attached(self, model: str, tier: Role) -> int:
        """Workers of a tier that are there at this moment, but for those that drain."""
        return count_attached(self._state.fleet.pools[model], tier)

    def settle(self, now_ms: float) -> None:
        """Judge every tier when it is time, and do what it takes, or what the router does that decides.

        Without news of the others everything stays as it is.
        """
        if now_ms < self._due_ms or self.peers.is_blind(now_ms):
            return
        self._due_ms = now_ms + self.config.interval_ms
        while self._advised and now_ms - next(iter(self._advised.values())).asked_ms > ADVICE_TTL_MS:
            self._advised.popitem(last=False)
        for (model, tier, _), watched in self._advised.items():
            if (pool := self._state.fleet.pools.get(model)) is not None:
                self._judge(watched, pool, tier, now_ms)
        for pool in self._state.fleet.pools.values():
            if self.decides(now_ms):
                self._settle_pool(pool, now_ms)
            else:
                self._follow(pool, now_ms)
        if not self.drivers and self.decides(now_ms):
            for order in self.steward.recall_all():
                self._operations.carry_out(order, now_ms)

    def _settle_pool(self, pool: Pool, now_ms: float) -> None:
        rebalancer = self._rebalancers.setdefault(pool.model, Rebalancer(self.config.starve_ms))
        for tier in tiers_of(pool):
            watched = self._watched(pool, tier)
            decision = self._judge(watched, pool, tier, now_ms)
            rebalancer.watch(tier, watched.signal, decision, watched.scaler.rules, now_ms)
            if self.config.acts:
                for order in self.steward.settle(pool, tier, decision, may_retire=bool(self.drivers)):
                    self._operations.carry_out(order, now_ms)
        if self.config.acts and self.config.rebalances and (flip := rebalancer.flip(pool, now_ms)):
            self._flip(pool, flip, now_ms)

    def _follow(self, pool: Pool, now_ms: float) -> None:
        """Measure as ever, want what the router wants that decides, and do with each worker as it does.

        Between two that decide nothing changes.
        """
        self._rebalancers.pop(pool.model, None)
        for tier in tiers_of(pool):
            watched = self._watched(pool, tier)
            told = self.peers.desired((pool.model, tier))
            if told is None and watched.decision is not None:
                told = watched.decision.desired
            self._judge(watched, pool, tier, now_ms, told)
        if self.config.acts:
            told_workers = self.peers.standings()
            for order in self.steward.follow(pool, told_workers):
                self._operations.carry_out(order, now_ms)
            for worker in list(pool.workers.values()):
                report = told_workers.get(worker.worker_id)
                if report is not None and report.role is not (worker.flips_to or worker.role):
                    self._change_role(SetRole(worker.worker_id, report.role), now_ms)

    def _watched(self, pool: Pool, tier: Role) -> Watched:
        watched = self.tiers.get((pool.model, tier))
        if watched is None:
            watched = self.tiers[pool.model, tier] = Watched(TierScaler(tier, self.rules_of(tier)))
        return watched

    def _flip(self, pool: Pool, flip: SetRole, now_ms: float) -> None:
        if self._change_role(flip, now_ms):
            source = Role.PREFILL if flip.role is Role.DECODE else Role.DECODE
            self.tiers[pool.model, source].scaler.give_away(now_ms)

    def _change_role(self, flip: SetRole, now_ms: float) -> bool:
        try:
            self._operations.carry_out(flip, now_ms)
        except OperationRefused:  # it has flipped lately, or many have: a new worker will come instead
            return False
        return True

    def _judge(
        self, watched: Watched, pool: Pool, tier: Role, now_ms: float, told: int | None = None
    ) -> Decision:
        own = self._observe(pool, tier, now_ms)
        watched.signal = self.peers.added_to(own, (pool.model, tier))
        floor = self._floor(watched.scaler, now_ms)
        may_grow = now_ms - self._state.demand_of(pool.model).moved_ms >= MOVING_MS
        watched.decision = watched.scaler.decide(watched.signal, now_ms, floor, told=told, may_grow=may_grow)
        return watched.decision

    def _observe(self, pool: Pool, tier: Role, now_ms: float) -> TierSignal:
        """This router's own part."""
        demand = self._state.demand_of(pool.model)
        totals = demand.decode if tier is Role.DECODE else demand.prefill
        return observe(pool, tier, totals, self.steward.retiring, now_ms)

    def _floor(self, scaler: TierScaler, now_ms: float) -> int:
        """The schedule's, at this moment and a cold start later, so that workers are there when it begins."""
        here_ms = self.config.unix_ms_at_zero + now_ms
        moments = (here_ms, here_ms + scaler.cold_start_ms)
        floors = scaler.rules.floors
        return max((f.replicas for f in floors for at_ms in moments if f.when.matches(at_ms)), default=0)


def tiers_of(pool: Pool) -> tuple[Role, ...]:
    """The tiers that a pool has: where the model gives vectors, nobody decodes."""
    return TIERS if pool.embedding_model is None else (Role.PREFILL,)
