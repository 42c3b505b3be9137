"""Scaling of all pools: watches each tier, decides, and says what to do with the workers that are there."""

from collections import OrderedDict
from dataclasses import dataclass, field

from services.common.domain import Role
from services.common.errors import OperationRefused
from services.router.core.events import SetRole
from services.router.core.fleet import Pool
from services.router.core.operations import Operations
from services.router.core.scaling.observe import count_attached, observe
from services.router.core.scaling.rebalance import Rebalancer
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

Key = tuple[str, Role]
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
        self.drivers: set[int] = set()
        """Sessions of those who start and end workers by what is decided here."""
        self._advised: OrderedDict[Advised, Watched] = OrderedDict()
        self._rebalancers: dict[str, Rebalancer] = {}
        self._due_ms = float("-inf")

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
        """Judge every tier when it is time, and do what it takes."""
        if now_ms < self._due_ms:
            return
        self._due_ms = now_ms + self.config.interval_ms
        while self._advised and now_ms - next(iter(self._advised.values())).asked_ms > ADVICE_TTL_MS:
            self._advised.popitem(last=False)
        for (model, tier, _), watched in self._advised.items():
            if (pool := self._state.fleet.pools.get(model)) is not None:
                self._judge(watched, pool, tier, now_ms)
        for pool in self._state.fleet.pools.values():
            self._settle_pool(pool, now_ms)
        if not self.drivers:
            for order in self.steward.recall_all():
                self._operations.carry_out(order, now_ms)

    def _settle_pool(self, pool: Pool, now_ms: float) -> None:
        rebalancer = self._rebalancers.setdefault(pool.model, Rebalancer(self.config.starve_ms))
        for tier in TIERS:
            watched = self.tiers.get((pool.model, tier))
            if watched is None:
                watched = self.tiers[pool.model, tier] = Watched(TierScaler(tier, self.rules_of(tier)))
            decision = self._judge(watched, pool, tier, now_ms)
            rebalancer.watch(tier, watched.signal, decision, watched.scaler.rules, now_ms)
            if self.config.acts:
                for order in self.steward.settle(pool, tier, decision, may_retire=bool(self.drivers)):
                    self._operations.carry_out(order, now_ms)
        if self.config.acts and self.config.rebalances and (flip := rebalancer.flip(pool, now_ms)):
            self._flip(pool, flip, now_ms)

    def _flip(self, pool: Pool, flip: SetRole, now_ms: float) -> None:
        try:
            self._operations.carry_out(flip, now_ms)
        except OperationRefused:  # it has flipped lately, or many have: a new worker will come instead
            return
        source = Role.PREFILL if flip.role is Role.DECODE else Role.DECODE
        self.tiers[pool.model, source].scaler.give_away(now_ms)

    def _judge(self, watched: Watched, pool: Pool, tier: Role, now_ms: float) -> Decision:
        demand = self._state.demand_of(pool.model)
        totals = demand.decode if tier is Role.DECODE else demand.prefill
        watched.signal = observe(pool, tier, totals, self.steward.retiring, now_ms)
        floor = self._floor(watched.scaler, now_ms)
        watched.decision = watched.scaler.decide(watched.signal, now_ms, floor)
        return watched.decision

    def _floor(self, scaler: TierScaler, now_ms: float) -> int:
        """The schedule's, at this moment and a cold start later, so that workers are there when it begins."""
        here_ms = self.config.unix_ms_at_zero + now_ms
        moments = (here_ms, here_ms + scaler.cold_start_ms)
        floors = scaler.rules.floors
        return max((f.replicas for f in floors for at_ms in moments if f.when.matches(at_ms)), default=0)
