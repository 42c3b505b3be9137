"""All the money that one tenant may spend at this gateway: a purse for each of its budgets."""

from collections.abc import Iterator, Sequence

from services.common.store.purses import PurseLease, PurseReport
from services.gateway.accounts.spending.calendar import Calendar, Period
from services.gateway.accounts.spending.purse import Purse
from services.gateway.tenants.caller import MoneyBudget


class Wallet:
    """What a request costs is taken from every purse. A request that costs nothing needs none."""

    def __init__(self, budget: MoneyBudget, calendar: Calendar, share: float | None) -> None:
        """`share` is this gateway's part of the budgets while it is alone, and None beside a store."""
        self.warning_share = budget.warning_share
        limits = ((Period.DAY, budget.day_nano), (Period.MONTH, budget.month_nano))
        self._purses = [
            Purse(limit, period, calendar, share) for period, limit in limits if limit is not None
        ]
        self._reported: Sequence[PurseReport] = ()

    def __iter__(self) -> Iterator[Purse]:
        return iter(self._purses)

    def __bool__(self) -> bool:
        return bool(self._purses)

    def has(self, cost: int) -> bool:
        """Whether so much can be spent here and now."""
        return not cost or all(purse.has(cost) for purse in self._purses)

    def may_have(self, cost: int) -> bool:
        """Whether asking could help, by what the store said last."""
        return not cost or all(purse.may_have(cost) for purse in self._purses)

    def short_of(self, cost: int) -> Purse | None:
        """The purse that cannot give so much, and of two the one that is filled again later."""
        return next((purse for purse in reversed(self._purses) if cost and not purse.has(cost)), None)

    def too_small_for(self, cost: int) -> Purse | None:
        """A purse that never holds so much."""
        return next((purse for purse in self._purses if cost > purse.limit), None)

    @property
    def affordable(self) -> int | None:
        """What a request may surely cost, by what is known here; None is no limit."""
        return min((purse.affordable for purse in self._purses), default=None)

    def note_demand(self, cost: int, now_ms: float) -> None:
        """Take notice that so much is asked for."""
        for purse in self._purses:
            purse.note_demand(cost, now_ms)

    def take(self, cost: int) -> None:
        """Reserve so much for a request."""
        for purse in self._purses:
            purse.take(cost)

    def settle(self, reserved: int, cost: int) -> None:
        """A request is over that had reserved so much, and it has cost that much."""
        for purse in self._purses:
            purse.settle(reserved, cost)

    def counted(self, day: str, cost: int) -> None:
        """The ledger has counted a use of this gateway's."""
        for purse in self._purses:
            purse.counted(day, cost)

    def wait(self, cost: int) -> None:
        """A request waits for so much."""
        for purse in self._purses if cost else ():
            purse.waiting.append(cost)

    def stop_waiting(self, cost: int) -> None:
        """It waits no more."""
        for purse in self._purses if cost else ():
            purse.waiting.remove(cost)

    # The store.

    def report(self, tenant: str, now_ms: float, gateways: int) -> tuple[PurseReport, ...]:
        """What to tell the store; `adopt` takes its answer to this."""
        self._reported = tuple(purse.report(tenant, now_ms, gateways) for purse in self._purses)
        return self._reported

    def adopt(self, leases: Sequence[PurseLease]) -> None:
        """Take up what the store grants."""
        for purse, report, lease in zip(self._purses, self._reported, leases, strict=True):
            purse.adopt(report, lease)

    def forfeit(self) -> None:
        """The leases have run out."""
        for purse in self._purses:
            purse.forfeit()

    def follow(self, share: float | None) -> None:
        """Go alone with a share, or with None come back to the store."""
        for purse in self._purses:
            purse.follow(share)

    def take_over(self, earlier: "Wallet", share: float | None) -> None:
        """Go on with what is known of the same budgets, which may have other limits now."""
        known = {purse.period: purse for purse in earlier}
        for at, purse in enumerate(self._purses):
            if (kept := known.get(purse.period)) is not None:
                kept.follow(share)
                if kept.limit != purse.limit:
                    kept.set_limit(purse.limit)
                self._purses[at] = kept

    @property
    def is_bare(self) -> bool:
        """Whether this gateway has nothing of it in use."""
        return all(purse.is_bare for purse in self._purses)

    @property
    def holds(self) -> bool:
        """Whether it holds anything that another gateway could use."""
        return any(purse.holds for purse in self._purses)
