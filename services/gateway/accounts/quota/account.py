"""All limits of one tenant at this gateway."""

import asyncio
import math

from services.common.store.leases import UNUSED_POOL, UNUSED_SLOTS, BudgetLease, BudgetReport
from services.gateway.accounts.quota.budget import Budget
from services.gateway.accounts.quota.slots import Slots
from services.gateway.accounts.spending.calendar import Calendar
from services.gateway.accounts.spending.wallet import Wallet
from services.gateway.tenants import TenantQuota

FRESH_MS = 150.0
"""Older knowledge of what others have left is asked for anew before a request is refused."""


class Account:
    """Gives and takes back; `None` stands for what has no limit."""

    def __init__(
        self, tenant: str, quota: TenantQuota, share: float | None, now_ms: float, calendar: Calendar
    ) -> None:
        """`share` is this gateway's part of the limits while it is alone, and None beside a store."""
        self.tenant = tenant
        self.quota = quota
        self.tokens = _budget(quota.tokens_per_minute, share, now_ms)
        self.requests = _budget(quota.requests_per_minute, share, now_ms)
        self.slots = None if quota.concurrent is None else Slots(quota.concurrent, now_ms)
        self.wallet = Wallet(quota.budget, calendar, share)
        self.open_count = 0
        """Reservations that are not settled."""
        self.is_changed = False
        """Whether there is anything new to tell the store."""
        self.confirmed_ms = -math.inf
        """When the last report was sent that the store has answered."""
        self._is_contended = False
        self._share = share
        self._waiters: list[asyncio.Future[None]] = []

    def has(self, tokens: int, cost: int, now_ms: float) -> bool:
        """Whether one more request of so many tokens, and that cost, can be let in here and now."""
        return (
            (self.tokens is None or self.tokens.has(tokens, now_ms))
            and (self.requests is None or self.requests.has(1, now_ms))
            and self.has_slot()
            and self.wallet.has(cost)
        )

    def may_have(self, tokens: int, cost: int, now_ms: float) -> bool:
        """Whether asking the store could help: by what it said last, unless that is old."""
        if self._share is not None:
            return False
        if now_ms - self.confirmed_ms > FRESH_MS:
            return True
        return (
            (self.tokens is None or self.tokens.wait_ms(tokens, now_ms) == 0)
            and (self.requests is None or self.requests.wait_ms(1, now_ms) == 0)
            and (self.slots is None or self.slots.may_have_free())
            and self.wallet.may_have(cost)
        )

    def note_demand(self, tokens: int, cost: int, now_ms: float) -> None:
        """Take notice that a request asks for so many tokens, and that cost, whether it gets them or not."""
        self.is_changed = True
        if self._share is not None:
            return
        if self.tokens is not None:
            self.tokens.pool.note_demand(tokens, now_ms)
        if self.requests is not None:
            self.requests.pool.note_demand(1, now_ms)
        if self.slots is not None:
            self.slots.note_demand(now_ms)
        self.wallet.note_demand(cost, now_ms)

    def has_slot(self) -> bool:
        """Whether one more may be in flight."""
        return self.slots is None or self.slots.has_free(self._share)

    def take(self, tokens: int, cost: int) -> None:
        """Let a request of so many tokens, and that cost, in."""
        self.open_count += 1
        if self.tokens is not None:
            self.tokens.take(tokens)
        if self.requests is not None:
            self.requests.take(1)
        if self.slots is not None:
            self.slots.take()
        self.wallet.take(cost)

    def give_back(self, tokens: int, reserved_cost: int, cost: int) -> None:
        """A request is over; so many tokens do not count after all, and it has cost that much of what was
        reserved. The request counts, however it ended.
        """
        self.open_count -= 1
        self.is_changed = True
        if self.tokens is not None:
            self.tokens.give_back(tokens)
        if self.slots is not None:
            self.slots.give_back()
        self.wallet.settle(reserved_cost, cost)

    # Waiting for the store.

    def wait(self, tokens: int, cost: int) -> "asyncio.Future[None]":
        """Wait for the next round that asks the store for so much more; call `stop_waiting` after it."""
        self._count_waiting(tokens, 1)
        self.wallet.wait(cost)
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def stop_waiting(self, tokens: int, cost: int) -> None:
        """Ask no more for what was waited for."""
        self._count_waiting(-tokens, -1)
        self.wallet.stop_waiting(cost)

    @property
    def is_waited_for(self) -> bool:
        """Whether a request waits."""
        return bool(self._waiters)

    def take_waiters(self) -> "list[asyncio.Future[None]]":
        """Those who wait for the round that begins."""
        waiters, self._waiters = self._waiters, []
        return waiters

    def _count_waiting(self, tokens: int, requests: int) -> None:
        if self.tokens is not None:
            self.tokens.pool.waiting += tokens
        if self.requests is not None:
            self.requests.pool.waiting += requests
        if self.slots is not None:
            self.slots.waiting += requests

    # The store.

    def report(self, now_ms: float, gateways: int) -> BudgetReport:
        """What to tell the store; what it returns is given up here and now."""
        self.is_changed = False
        contended, tokens, requests, slots = self._is_contended, self.tokens, self.requests, self.slots
        return BudgetReport(
            self.tenant,
            tokens.pool.report(now_ms, gateways, is_contended=contended) if tokens else UNUSED_POOL,
            requests.pool.report(now_ms, gateways, is_contended=contended) if requests else UNUSED_POOL,
            slots.report(now_ms, gateways, is_contended=contended) if slots else UNUSED_SLOTS,
            self.wallet.report(self.tenant, now_ms, gateways),
        )

    def adopt(self, lease: BudgetLease, sent_ms: float, now_ms: float) -> None:
        """Take up what the store grants."""
        self.confirmed_ms = sent_ms
        self._is_contended = lease.is_contended
        if self.tokens is not None:
            self.tokens.pool.adopt(lease.tokens, now_ms)
        if self.requests is not None:
            self.requests.pool.adopt(lease.requests, now_ms)
        if self.slots is not None:
            self.slots.adopt(lease.slots)
        self.wallet.adopt(lease.purses)

    @property
    def has_leases(self) -> bool:
        """Whether it holds anything that another gateway could use."""
        pools = [budget.pool for budget in (self.tokens, self.requests) if budget is not None]
        has_slots = self.slots is not None and self.slots.has_free(None)
        return has_slots or self.wallet.holds or any(pool.has(1) for pool in pools)

    def is_bare(self, now_ms: float) -> bool:
        """Whether it may be forgotten beside a store: nothing held, nothing owed, nobody there."""
        if self.open_count or self._waiters or self.is_changed or not self.wallet.is_bare:
            return False
        pools = [budget.pool for budget in (self.tokens, self.requests) if budget is not None]
        slots_bare = self.slots is None or self.slots.is_bare(now_ms)
        return slots_bare and all(pool.is_bare(now_ms) for pool in pools)

    def forfeit(self) -> None:
        """The leases have run out: the store may have given the same to others."""
        for budget in (self.tokens, self.requests):
            if budget is not None:
                budget.pool.forfeit()
        if self.slots is not None:
            self.slots.forfeit()
        self.wallet.forfeit()

    def go_alone(self, share: float, now_ms: float) -> None:
        """Go on without the store, with this gateway's share."""
        self._share = share
        for budget in (self.tokens, self.requests):
            if budget is not None:
                budget.go_alone(share, now_ms)
        self.wallet.follow(share)

    def come_back(self, now_ms: float) -> None:
        """Go on with the store."""
        self._share = None
        self.is_changed = True
        self.confirmed_ms = now_ms
        for budget in (self.tokens, self.requests):
            if budget is not None:
                budget.come_back(now_ms)
        if self.slots is not None:
            self.slots.forfeit()
        self.wallet.follow(None)


def _budget(limit: int | None, share: float | None, now_ms: float) -> Budget | None:
    return None if limit is None else Budget(limit, share, now_ms)
