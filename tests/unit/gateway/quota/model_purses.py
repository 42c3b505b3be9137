"""The store's side of budgets of money on a virtual clock: what spending.lua does, purse by purse.

`test_spending_store.py` holds both to the same answers.
"""

from dataclasses import dataclass, field

from services.common.clock import ManualClock
from services.common.store.purses import PurseLease, PurseReport


@dataclass
class _Holder:
    outstanding: int
    recoverable: int
    ends_ms: float


@dataclass
class _Purse:
    holders: dict[str, _Holder] = field(default_factory=dict)
    short_ms: float = 0.0
    short_by: str = ""


class ModelPurses:
    """All purses, and what the ledger has counted as spent."""

    def __init__(self, clock: ManualClock, lease_ms: int) -> None:
        self.spent: dict[tuple[str, str], int] = {}
        """By tenant and period; a ledger adds to it."""
        self._clock, self._lease_ms = clock, lease_ms
        self._purses: dict[tuple[str, str], _Purse] = {}

    def add(self, tenant: str, day: str, cost: int) -> None:
        """Count a use, as the ledger does."""
        for period in (day, day[:7]):
            self.spent[tenant, period] = self.spent.get((tenant, period), 0) + cost

    def forget(self) -> None:
        """Lose everything, as a Redis that starts anew."""
        self.spent.clear()
        self._purses.clear()

    def lease(self, gateway_id: str, report: PurseReport) -> PurseLease:
        """What a report is answered with."""
        key, now_ms = (report.tenant, report.period), self._clock.now_ms()
        purse = self._purses.setdefault(key, _Purse())
        purse.holders = {name: h for name, h in purse.holders.items() if h.ends_ms > now_ms}
        spent = self.spent[key] = max(self.spent.get(key, 0), report.seed)
        others = [holder for name, holder in purse.holders.items() if name != gateway_id]
        free = report.limit - spent - sum(h.outstanding for h in others) - report.outstanding
        is_contended = purse.short_by not in ("", gateway_id) and now_ms - purse.short_ms < 1_000
        granted = max(0, min(report.wanted, free))
        if granted < report.least:
            granted = 0
        if granted < report.wanted:
            purse.short_ms, purse.short_by = now_ms, gateway_id
        outstanding = report.outstanding + granted
        purse.holders[gateway_id] = _Holder(
            outstanding, outstanding - report.reserved, now_ms + self._lease_ms
        )
        recoverable = sum(max(0, holder.recoverable) for holder in others)
        return PurseLease(granted, free - granted, recoverable, spent, is_contended)
