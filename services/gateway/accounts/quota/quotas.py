"""Quotas of tenants: decided here, shared with the other gateways through the store."""

import asyncio
import math
from collections.abc import Coroutine, Sequence
from typing import Any

from services.common.clock import Clock
from services.common.errors import QuotaUnknown, RequestOverQuota
from services.common.store.usage import UsageEntry
from services.gateway.accounts.quota.account import FRESH_MS, Account
from services.gateway.accounts.quota.accounts import Accounts
from services.gateway.accounts.quota.headers import ratelimit_headers
from services.gateway.accounts.quota.metrics import QuotaMetrics
from services.gateway.accounts.quota.reconciler import ROUND_MS, Reconciler
from services.gateway.accounts.quota.refusal import OverBudget, OverLimit, over_budget
from services.gateway.accounts.quota.reservation import FREE, Reservation, Unlimited
from services.gateway.accounts.spending.amount import amount_text
from services.gateway.accounts.spending.purse import Purse
from services.gateway.accounts.spending.warnings import Warnings
from services.gateway.tenants import UNLIMITED, Caller
from services.gateway.tenants.caller import NO_BUDGET

BORROW_ROUNDS_MAX = 3
"""Rounds that a request waits for at most; others may be quicker to take what each of them brings."""
OTHERS_ROUNDS_MAX = 5
"""Rounds for which it then waits for other gateways, which give back what they hold of a budget of money.
They learn in one of their rounds that it is short, and give back in the next."""
BORROW_MS_MAX = 1_500.0
"""Time that it waits at most."""
SLOT_RETRY_MS = 1_000
"""When to come again where too many requests are in flight: nobody knows when the first of them ends."""


class Quotas:
    """Reserves from tenants' quotas.

    `reserve` decides at once from what this gateway holds of the limits. `borrow` comes before it, for the
    first request of a tenant in a while and for one that needs more than is held.
    """

    def __init__(
        self,
        accounts: Accounts,
        metrics: QuotaMetrics,
        clock: Clock,
        reconciler: Reconciler | None = None,
        *,
        fails_closed: bool = False,
    ) -> None:
        """Without a reconciler the limits are this gateway's alone; `fails_closed` refuses limited tenants
        while the store is away.
        """
        self._accounts = accounts
        self._metrics = metrics
        self._clock = clock
        self._reconciler = reconciler
        self._fails_closed = fails_closed
        self._warnings = Warnings(metrics.warned)

    async def run(self) -> None:
        """Share the limits with other gateways until cancelled; returns at once where there is no store."""
        if self._reconciler is not None:
            await self._reconciler.run()

    async def close(self) -> None:
        """Let go of connections."""
        if self._reconciler is not None:
            await self._reconciler.close()

    def learn(self, caller: Caller) -> Coroutine[Any, Any, None] | None:
        """What to await before `affordable_nano`; None when it is known."""
        if self._reconciler is None or caller.quota.budget is NO_BUDGET:
            return None
        now_ms = self._clock.now_ms()
        account = self._accounts.find(caller, now_ms)
        if self._accounts.share is not None or now_ms - account.confirmed_ms <= FRESH_MS:
            return None
        return self._wait_for_round(self._reconciler, account, 0, 0)

    def affordable_nano(self, caller: Caller) -> int | None:
        """What a request of the caller's may cost at present, in billionths; None is no limit."""
        return self._accounts.find(caller, self._clock.now_ms()).wallet.affordable

    def counted(self, entries: Sequence[UsageEntry]) -> None:
        """The ledger has counted these uses of this gateway's."""
        for entry in entries:
            self._accounts.counted(entry.tenant, entry.day, entry.cost_nano)

    def check(self, caller: Caller) -> None:
        """Raise `QuotaExceeded` where it is known that the caller's requests are used up.

        Takes nothing. It is asked before a request is read, so that refusing it costs next to nothing.
        """
        if caller.quota.requests_per_minute is None:
            return
        now_ms = self._clock.now_ms()
        account = self._accounts.find(caller, now_ms)
        if account.requests is not None and account.requests.wait_ms(1, now_ms) > 0:
            account.note_demand(0, 0, now_ms)
            raise self._refusal(account, 0, now_ms)

    def count(self, caller: Caller) -> None:
        """Take one request that is over already, if there is one to take."""
        if caller.quota.requests_per_minute is None:
            return
        now_ms = self._clock.now_ms()
        account = self._accounts.find(caller, now_ms)
        account.note_demand(0, 0, now_ms)
        if account.requests is not None and account.requests.wait_ms(1, now_ms) <= 0:
            account.requests.take(1)

    def borrow(self, caller: Caller, tokens: int, cost_nano: int = 0) -> Coroutine[Any, Any, None] | None:
        """What to await before `reserve`; None when it can decide now."""
        if self._reconciler is None or caller.quota == UNLIMITED:
            return None
        now_ms = self._clock.now_ms()
        account = self._accounts.find(caller, now_ms)
        if (
            account.has(tokens, cost_nano, now_ms)
            or not account.may_have(tokens, cost_nano, now_ms)
            or _is_too_large(account, tokens)
            or account.wallet.too_small_for(cost_nano)
        ):
            return None
        return self._wait_for_store(self._reconciler, account, tokens, cost_nano)

    def reserve(self, caller: Caller, tokens: int, cost_nano: int = 0) -> Reservation | Unlimited:
        """Take one request, so many tokens, and the most that it may cost from the caller's quota.

        Raises `QuotaExceeded`, `BudgetSpent`, `RequestOverQuota` for more than the quota ever holds, and
        `QuotaUnknown` when the store is away and that is configured to refuse.
        """
        if caller.quota is UNLIMITED or caller.quota == UNLIMITED:
            return FREE
        now_ms = self._clock.now_ms()
        account = self._accounts.find(caller, now_ms)
        self._check(account, tokens, cost_nano)
        account.note_demand(tokens, cost_nano, now_ms)
        if (spent := account.wallet.short_of(cost_nano)) is not None:
            raise self._budget_refusal(account, spent, now_ms)
        if not account.has(tokens, cost_nano, now_ms):
            raise self._refusal(account, tokens, now_ms)
        self._look(account)
        return Reservation(account, tokens, cost_nano, self._clock, self._look)

    def _look(self, account: Account) -> None:
        self._warnings.look(account.tenant, account.wallet)

    def _check(self, account: Account, tokens: int, cost_nano: int) -> None:
        if (small := account.wallet.too_small_for(cost_nano)) is not None:
            self._metrics.refused("size")
            raise RequestOverQuota(
                f"This request may cost {amount_text(cost_nano)}, for its prompt and max_tokens, and the "
                f"budget of {amount_text(small.limit)} a {small.period} never holds so much.",
                field="max_tokens",
            )
        if _is_too_large(account, tokens):
            self._metrics.refused("size")
            raise RequestOverQuota(
                f"This request needs {tokens} tokens, prompt and max_tokens together, and the quota of "
                f"{account.quota.tokens_per_minute} tokens a minute never holds so many.",
                field="max_tokens",
            )
        if self._fails_closed and self._reconciler is not None and self._accounts.share is not None:
            self._metrics.refused("store")
            raise QuotaUnknown("the quota cannot be checked at the moment", retry_after_ms=SLOT_RETRY_MS)

    def _refusal(self, account: Account, tokens: int, now_ms: float) -> OverLimit:
        """Which limit is in the way for longest, and for how long."""
        waits = [(0.0, "concurrent")]
        if account.requests is not None:
            waits.append((account.requests.wait_ms(1, now_ms), "requests"))
        if account.tokens is not None:
            waits.append((account.tokens.wait_ms(tokens, now_ms), "tokens"))
        wait_ms, limit = max(waits)
        if not wait_ms and account.has_slot():  # what is needed is on its way
            limit = "tokens" if account.tokens is not None else "requests"
            wait_ms = ROUND_MS
        self._metrics.refused(limit)
        return OverLimit(
            _message(account, limit, tokens),
            kind="tokens" if limit == "tokens" else "requests",
            retry_after_ms=None if math.isinf(wait_ms) else math.ceil(round(wait_ms, 6) or SLOT_RETRY_MS),
            headers=ratelimit_headers(account, now_ms),
        )

    def _budget_refusal(self, account: Account, purse: Purse, now_ms: float) -> OverBudget:
        self._metrics.refused(f"budget_{purse.period}")
        self._look(account)
        return over_budget(account, purse, now_ms)

    async def _wait_for_store(
        self, reconciler: Reconciler, account: Account, tokens: int, cost_nano: int
    ) -> None:
        try:
            async with asyncio.timeout(BORROW_MS_MAX / 1000.0):
                for nth in range(BORROW_ROUNDS_MAX + OTHERS_ROUNDS_MAX):
                    waits_for_others = nth >= BORROW_ROUNDS_MAX
                    if waits_for_others and account.wallet.has(cost_nano):
                        return
                    await self._wait_for_round(
                        reconciler, account, tokens, cost_nano, is_urgent=not waits_for_others
                    )
                    now_ms = self._clock.now_ms()
                    if account.has(tokens, cost_nano, now_ms) or not account.may_have(
                        tokens, cost_nano, now_ms
                    ):
                        return
        except TimeoutError:
            pass  # `reserve` decides by what there is

    async def _wait_for_round(
        self, reconciler: Reconciler, account: Account, tokens: int, cost_nano: int, *, is_urgent: bool = True
    ) -> None:
        waiter = account.wait(tokens, cost_nano)
        try:
            if is_urgent:
                reconciler.ask()
            await waiter
        finally:
            account.stop_waiting(tokens, cost_nano)


def _is_too_large(account: Account, tokens: int) -> bool:
    limit = account.quota.tokens_per_minute
    return limit is not None and tokens > limit


def _message(account: Account, limit: str, tokens: int) -> str:
    quota = account.quota
    if limit == "concurrent":
        return f"Rate limit reached: {quota.concurrent} requests are in flight, and no more may be."
    if limit == "requests":
        return f"Rate limit reached: {quota.requests_per_minute} requests a minute."
    return f"Rate limit reached: {quota.tokens_per_minute} tokens a minute; this request needs {tokens}."
