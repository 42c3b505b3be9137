"""What this gateway may spend of one tenant's budget for a day or a month."""

import math

from services.common.store.purses import PurseLease, PurseReport
from services.gateway.accounts.demand import Demand
from services.gateway.accounts.spending.calendar import Calendar, Period

HELD_SHARE_MAX = 0.2
"""All gateways together hold at most this share of what is left ahead of demand."""


class Purse:
    """A lease from the store, or alone this gateway's share. All amounts are billionths of the currency.

    With a new period it begins anew; what is reserved for requests in flight is reserved in the new one,
    where their cost will be booked.
    """

    def __init__(self, limit: int, period: Period, calendar: Calendar, share: float | None) -> None:
        """`share` is this gateway's part of the budget while it is alone, and None beside a store."""
        self.limit = limit
        self.period = period
        self.calendar = calendar
        self.waiting: list[int] = []
        """Amounts for which requests wait that do not fit what is held."""
        self.is_contended = False
        self._share = share
        self._name = calendar.name(period)
        self._reserved = 0
        self._demand = Demand(0.0)
        self._begin()

    def _begin(self) -> None:
        """Nothing of the period is spent."""
        self._held = (0 if self._share is None else math.floor(self.limit * self._share)) - self._reserved
        self._uncounted = 0
        self._spent = self._seed = 0
        self._left = self.limit
        self._recoverable = 0

    def _roll(self) -> None:
        name = self.calendar.name(self.period)
        if name != self._name:
            self._name = name
            self._begin()

    # Asking.

    def has(self, amount: int) -> bool:
        """Whether so much can be spent here and now."""
        self._roll()
        return self._held >= amount

    def may_have(self, amount: int) -> bool:
        """Whether the store, or other gateways, could have so much, by what the store said last."""
        self._roll()
        return self._held + self._left + self._recoverable + self._uncounted >= amount

    @property
    def affordable(self) -> int:
        """What can surely be had, by what is known here."""
        self._roll()
        return max(0, self._held + (self._left if self._share is None else 0))

    @property
    def spent(self) -> int:
        """What is known to be spent in this period."""
        self._roll()
        return self._spent + self._uncounted

    @property
    def remaining(self) -> int:
        """What is left of the budget, by what is known here; what is reserved here is not."""
        return max(0, self.limit - self.spent - self._reserved)

    # Giving and taking back.

    def note_demand(self, amount: int, now_ms: float) -> None:
        """Take notice that so much is asked for, given or not."""
        self._demand.note(amount, now_ms)

    def take(self, amount: int) -> None:
        """Reserve so much for a request."""
        self._roll()
        self._held -= amount
        self._reserved += amount

    def settle(self, amount: int, cost: int) -> None:
        """A request that had reserved `amount` is over and has cost `cost`, which may be more."""
        self._roll()
        self._reserved -= amount
        self._held += amount - cost
        self._uncounted += cost

    def counted(self, day: str, cost: int) -> None:
        """The ledger has counted a use of this gateway's on that day."""
        self._roll()
        if not day.startswith(self._name):
            return
        self._uncounted = max(0, self._uncounted - cost)
        if self._share is not None:  # beside a store it says what is spent
            self._spent += cost

    # The store.

    def report(self, tenant: str, now_ms: float, gateways: int) -> PurseReport:
        """What to tell the store. What is not needed is given up here and now."""
        self._roll()
        least = min(self.waiting, default=1)
        target = max(self._ahead(now_ms, gateways), sum(self.waiting))
        is_of_use = self._held >= least  # else others may need it
        self._held = min(self._held, target if is_of_use else 0)
        return PurseReport(
            tenant,
            self._name,
            self.limit,
            outstanding=self._held + self._reserved + self._uncounted,
            reserved=self._reserved,
            wanted=max(0, target - self._held),
            least=max(1, least - self._held),
            seed=self._seed,
        )

    def _ahead(self, now_ms: float, gateways: int) -> int:
        """What to hold ready: little where little is left, and nothing where another gateway is short."""
        if self.is_contended:
            return 0
        left = max(0, self.limit - self._spent)
        return min(self._demand.ahead(now_ms), math.floor(left * HELD_SHARE_MAX / max(1, gateways)))

    def adopt(self, report: PurseReport, lease: PurseLease) -> None:
        """Take up what the store grants for a report of this purse's."""
        self._roll()
        if report.period != self._name:
            return  # of a day that is over
        self._held += lease.granted
        self._left = lease.left
        self._recoverable = lease.recoverable
        self._spent = self._seed = lease.spent
        self.is_contended = lease.is_contended

    def forfeit(self) -> None:
        """The lease has run out; a debt stays."""
        self._held = min(self._held, 0)

    def go_alone(self, share: float) -> None:
        """Go on without the store, with this gateway's share of what it knew to be left."""
        self._roll()
        self._share = share
        self._held += math.floor(max(0, self._left) * share)

    def come_back(self) -> None:
        """Go on with the store, whose ledger learns from this gateway's file what was spent without it."""
        self._share = None
        self._held = 0
        self._left = self.limit - self._spent

    def set_limit(self, limit: int) -> None:
        """The tenant's budget is another one now."""
        if self._share is not None:
            self._held += math.floor((limit - self.limit) * self._share)
        self._left += limit - self.limit
        self.limit = limit

    def follow(self, share: float | None) -> None:
        """Go alone or come back, where it has slept through that; `share` is what holds now."""
        if share is None and self._share is not None:
            self.come_back()
        elif share is not None and self._share is None:
            self.go_alone(share)

    @property
    def is_bare(self) -> bool:
        """Whether this gateway has nothing of it in use."""
        return not (self._reserved or self._uncounted or self.waiting) and self._held <= 0

    @property
    def holds(self) -> bool:
        """Whether it holds anything that another gateway could use."""
        return self._held > 0
