"""What tenants have spent of their budgets, for people and programs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from services.common.store.usage import UsageRow
from services.gateway.accounts.spending.calendar import Calendar, Period
from services.gateway.tenants import Caller
from services.gateway.tenants.caller import NO_BUDGET


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One budget of one tenant, in the currency of prices."""

    tenant: str
    period: str
    """`day` or `month`."""
    current: str
    """The present one, UTC: `2026-01-31` or `2026-01`."""
    limit: float
    spent: float
    spent_share: float
    """Of the limit; 1 for a limit of nothing."""
    warns_at: float
    """Share from which the tenant is warned."""
    resets_at: str
    """When it is there again: `2026-02-01T00:00:00Z`."""


class BudgetReport:
    """Puts what the ledger has counted beside what tenants may spend."""

    def __init__(self, calendar: Calendar) -> None:
        self.callers: Callable[[], Iterable[Caller]] = lambda: ()
        """All tenants, with their budgets."""
        self._calendar = calendar

    def days(self, tenant: str | None) -> list[str]:
        """Days whose rows are needed: this month's until today; none where nobody asked for has a budget."""
        if not self._budgeted(tenant):
            return []
        today = date.fromisoformat(self._calendar.name(Period.DAY))
        return [(today - timedelta(days=i)).isoformat() for i in range(today.day)]

    def rows(self, tenant: str | None, used: Sequence[UsageRow]) -> list[BudgetRow]:
        """All budgets, or one tenant's; `used` are the rows of `days`."""
        spent = {period: _spent(used, self._calendar.name(period)) for period in (Period.DAY, Period.MONTH)}
        return [row for caller in self._budgeted(tenant) for row in self._of(caller, spent)]

    def _budgeted(self, tenant: str | None) -> list[Caller]:
        having = [caller for caller in self.callers() if caller.quota.budget is not NO_BUDGET]
        return sorted(
            (caller for caller in having if tenant in (None, caller.tenant)), key=lambda one: one.tenant
        )

    def _of(self, caller: Caller, spent: Mapping[Period, Mapping[str, float]]) -> Iterable[BudgetRow]:
        budget = caller.quota.budget
        for period, limit in ((Period.DAY, budget.day_nano), (Period.MONTH, budget.month_nano)):
            if limit is not None:
                cost = spent[period].get(caller.tenant, 0.0)
                yield BudgetRow(
                    tenant=caller.tenant,
                    period=period,
                    current=self._calendar.name(period),
                    limit=limit / 1e9,
                    spent=cost,
                    spent_share=cost / (limit / 1e9) if limit else 1.0,
                    warns_at=budget.warning_share,
                    resets_at=self._calendar.reset_text(period),
                )


def _spent(used: Iterable[UsageRow], current: str) -> dict[str, float]:
    spent: dict[str, float] = {}
    for row in used:
        if row.day.startswith(current):
            spent[row.tenant] = spent.get(row.tenant, 0.0) + row.cost
    return spent
