"""Quotas of tenants: decided here, shared with the other gateways through the store."""

import asyncio
import math
from collections.abc import Coroutine
from typing import Any

from services.common.clock import Clock
from services.common.errors import QuotaUnknown, RequestOverQuota
from services.gateway.accounts.quota.account import Account
from services.gateway.accounts.quota.accounts import Accounts
from services.gateway.accounts.quota.headers import ratelimit_headers
from services.gateway.accounts.quota.metrics import QuotaMetrics
from services.gateway.accounts.quota.reconciler import ROUND_MS, Reconciler
from services.gateway.accounts.quota.refusal import OverLimit
from services.gateway.accounts.quota.reservation import FREE, Reservation, Unlimited
from services.gateway.tenants import UNLIMITED, Caller

BORROW_ROUNDS_MAX = 3
"""Rounds that a request waits for at most; others may be quicker to take what each of them brings."""
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

    async def run(self) -> None:
        """Share the limits with other gateways until cancelled; returns at once where there is no store."""
        if self._reconciler is not None:
            await self._reconciler.run()

    async def close(self) -> None:
        """Let go of connections."""
        if self._reconciler is not None:
            await self._reconciler.close()

    def borrow(self, caller: Caller, tokens: int) -> Coroutine[Any, Any, None] | None:
        """What to await before `reserve`; None when it can decide now."""
        if self._reconciler is None or caller.quota == UNLIMITED:
            return None
        now_ms = self._clock.now_ms()
        account = self._accounts.find(caller, now_ms)
        if (
            account.has(tokens, now_ms)
            or not account.may_have(tokens, now_ms)
            or _is_too_large(account, tokens)
        ):
            return None
        return self._wait_for_store(self._reconciler, account, tokens)

    def reserve(self, caller: Caller, tokens: int) -> Reservation | Unlimited:
        """Take one request and so many tokens from the caller's quota.

        Raises `QuotaExceeded`, `RequestOverQuota` for more tokens than the quota ever holds, and
        `QuotaUnknown` when the store is away and that is configured to refuse.
        """
        if caller.quota is UNLIMITED or caller.quota == UNLIMITED:
            return FREE
        now_ms = self._clock.now_ms()
        account = self._accounts.find(caller, now_ms)
        self._check(account, tokens)
        account.note_demand(tokens, now_ms)
        if not account.has(tokens, now_ms):
            raise self._refusal(account, tokens, now_ms)
        return Reservation(account, tokens, self._clock)

    def _check(self, account: Account, tokens: int) -> None:
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

    async def _wait_for_store(self, reconciler: Reconciler, account: Account, tokens: int) -> None:
        try:
            async with asyncio.timeout(BORROW_MS_MAX / 1000.0):
                for _ in range(BORROW_ROUNDS_MAX):
                    await self._wait_for_round(reconciler, account, tokens)
                    now_ms = self._clock.now_ms()
                    if account.has(tokens, now_ms) or not account.may_have(tokens, now_ms):
                        return
        except TimeoutError:
            pass  # `reserve` decides by what there is

    async def _wait_for_round(self, reconciler: Reconciler, account: Account, tokens: int) -> None:
        waiter = account.wait(tokens)
        try:
            reconciler.ask()
            await waiter
        finally:
            account.stop_waiting(tokens)


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
