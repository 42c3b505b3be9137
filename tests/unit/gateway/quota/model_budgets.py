"""The store's side of quotas on a virtual clock: what budgets.lua does, for one tenant after the other.

`test_budgets.py` holds both to the same answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.common.clock import ManualClock
from services.common.errors import StoreUnavailable
from services.common.store.leases import NO_LIMIT, BudgetLease, BudgetReport, Lease, PoolReport, SlotsReport
from tests.unit.gateway.quota.model_purses import ModelPurses


@dataclass
class _Holder:
    held: tuple[int, int, int]
    ends_ms: float


@dataclass
class _Tenant:
    levels: list[float | None] = field(default_factory=lambda: [None, None])
    refilled_ms: float = 0.0
    holders: dict[str, _Holder] = field(default_factory=dict)
    short_ms: float = 0.0
    short_by: str = ""


class ModelBudgets:
    """All tenants' budgets. `is_away` makes it fail, `loses_reply` only after it has done its work."""

    def __init__(self, clock: ManualClock, lease_ms: int = 2_000) -> None:
        self.is_away = False
        self.loses_reply = False
        self._clock = clock
        self._lease_ms = lease_ms
        self._gateways: dict[str, float] = {}
        self._tenants: dict[str, _Tenant] = {}
        self.purses = ModelPurses(clock, lease_ms)

    async def reconcile(
        self, gateway_id: str, reports: Sequence[BudgetReport]
    ) -> tuple[int, list[BudgetLease]]:
        """See `Budgets`."""
        if self.is_away:
            raise StoreUnavailable("away")
        now_ms = self._clock.now_ms()
        self._gateways = {name: ends for name, ends in self._gateways.items() if ends > now_ms}
        self._gateways[gateway_id] = now_ms + self._lease_ms
        leases = [self._one(gateway_id, report, now_ms) for report in reports]
        if self.loses_reply:
            raise StoreUnavailable("the reply was lost")
        return len(self._gateways), leases

    def forget(self) -> None:
        """Lose everything, as a Redis that starts anew."""
        self._tenants.clear()
        self._gateways.clear()

    def _one(self, gateway_id: str, report: BudgetReport, now_ms: float) -> BudgetLease:
        tenant = self._tenants.setdefault(report.tenant, _Tenant(refilled_ms=now_ms))
        tenant.holders = {name: h for name, h in tenant.holders.items() if h.ends_ms > now_ms}
        others = [h.held for name, h in tenant.holders.items() if name != gateway_id]
        elsewhere = [sum(max(0, held[i]) for held in others) for i in range(3)]
        elapsed_ms, tenant.refilled_ms = now_ms - tenant.refilled_ms, now_ms
        tokens = self._lease(tenant, 0, report.tokens, elapsed_ms, elsewhere[0])
        requests = self._lease(tenant, 1, report.requests, elapsed_ms, elsewhere[1])
        slots = _slots(report.slots, elsewhere[2])
        is_contended = tenant.short_by not in ("", gateway_id) and now_ms - tenant.short_ms < 1_000
        asked = (report.tokens, report.requests, report.slots)
        got = (tokens, requests, slots)
        if any(one.granted < its.wanted for one, its in zip(got, asked, strict=True)):
            tenant.short_ms, tenant.short_by = now_ms, gateway_id
        held = (
            report.tokens.held + tokens.granted,
            report.requests.held + requests.granted,
            report.slots.held + slots.granted,
        )
        tenant.holders[gateway_id] = _Holder(held, now_ms + self._lease_ms)
        money = tuple(self.purses.lease(gateway_id, purse) for purse in report.purses)
        return BudgetLease(tokens, requests, slots, is_contended, money)

    def _lease(
        self, tenant: _Tenant, which: int, report: PoolReport, elapsed_ms: float, elsewhere: int
    ) -> Lease:
        if report.limit == NO_LIMIT:
            tenant.levels[which] = 0.0
            return Lease(0, 0)
        level = tenant.levels[which]
        level = (report.seed if level is None else level) + report.limit / 60_000 * elapsed_ms
        room = report.limit - elsewhere - max(0, report.held)
        level = max(-report.limit, min(level + report.returned, room))
        granted = max(0, min(report.wanted, int(level // 1)))
        tenant.levels[which] = level - granted
        return Lease(granted, int((level - granted) // 1))


def _slots(report: SlotsReport, elsewhere: int) -> Lease:
    if report.limit == NO_LIMIT:
        return Lease(0, 0)
    free = report.limit - elsewhere - report.held
    granted = min(report.wanted, free)
    return Lease(granted, free - granted)
