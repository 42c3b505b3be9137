"""Rounds with the store: every 100 ms what changed goes there in one message, and leases come back."""

import asyncio
import logging
from random import Random
from typing import TYPE_CHECKING

from services.common.clock import Clock
from services.common.errors import StoreUnavailable
from services.gateway.accounts.quota.account import Account
from services.gateway.accounts.quota.accounts import Accounts
from services.gateway.accounts.quota.metrics import QuotaMetrics

if TYPE_CHECKING:
    from services.common.store.budgets import Budgets

ROUND_MS = 100.0
JITTER = 0.2
"""Rounds vary by this much, so that no gateway always comes last."""
ROUND_GAP_MS_MIN = 5.0
"""Least time between two rounds, however many requests wait for one."""
HEARTBEAT_MS = 1_000.0
"""With nothing to tell, the store is asked this often whether it is there, and how many gateways are."""
ACCOUNTS_PER_ROUND_MAX = 256
"""More go in the next round, which follows at once."""

_log = logging.getLogger(__name__)


class Reconciler:
    """Keeps the accounts of one gateway in step with the store, which may come and go."""

    def __init__(
        self,
        gateway_id: str,
        accounts: Accounts,
        budgets: "Budgets",
        metrics: QuotaMetrics,
        clock: Clock,
        random: Random,
    ) -> None:
        self.gateways = 1
        """Gateways that share the limits, as far as is known."""
        self._gateway_id = gateway_id
        self._accounts = accounts
        self._budgets = budgets
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._asked = asyncio.Event()
        self._heard_ms = -HEARTBEAT_MS

    def ask(self) -> None:
        """A request waits: let the next round begin as soon as it may."""
        self._asked.set()

    async def run(self) -> None:
        """One round after the other, until cancelled."""
        while True:
            await self._pause()
            await self.round()

    async def close(self) -> None:
        """Let go of connections; what is held ends by itself."""
        await self._budgets.close()

    async def round(self) -> None:
        """Report what there is to report, a bounded part of it, and take up the answer."""
        sent_ms = self._clock.now_ms()
        if self._accounts.share is not None:
            await self._look_for_store(sent_ms)
            return
        due = self._accounts.due(sent_ms, ACCOUNTS_PER_ROUND_MAX)
        if not due and sent_ms - self._heard_ms < HEARTBEAT_MS:
            return
        waiters = [waiter for account in due for waiter in account.take_waiters()]
        try:
            await self._exchange(due, sent_ms)
        except StoreUnavailable as error:
            self._go_alone(error)
        finally:
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        if len(due) == ACCOUNTS_PER_ROUND_MAX:
            self.ask()

    async def _exchange(self, due: list[Account], sent_ms: float) -> None:
        reports = [account.report(sent_ms, self.gateways) for account in due]
        self.gateways, leases = await self._budgets.reconcile(self._gateway_id, reports)
        now_ms = self._heard_ms = self._clock.now_ms()
        for account, lease in zip(due, leases, strict=True):
            account.adopt(lease, sent_ms, now_ms)
        self._accounts.forget_bare(due, now_ms)
        self._metrics.round_seconds.observe((now_ms - sent_ms) / 1000.0)
        self._metrics.accounts.set(len(self._accounts))
        self._metrics.store_up.set(1)

    async def _look_for_store(self, now_ms: float) -> None:
        """Whether it is back; if so, the next round follows at once and tells what was used without it."""
        self._heard_ms = now_ms
        try:
            self.gateways, _ = await self._budgets.reconcile(self._gateway_id, [])
        except StoreUnavailable:
            return
        _log.warning("quotas: the store answers again, limits are shared with %d gateways", self.gateways)
        self._metrics.store_up.set(1)
        self._accounts.come_back(self._clock.now_ms())
        self.ask()

    def _go_alone(self, error: StoreUnavailable) -> None:
        share = 1.0 / self.gateways
        _log.error("quotas: %s; going on alone, with %.3g of every limit", error.message, share)
        self._metrics.store_up.set(0)
        self._accounts.go_alone(share, self._clock.now_ms())

    async def _pause(self) -> None:
        """Until the next round is due; sooner when a request waits."""
        await asyncio.sleep(ROUND_GAP_MS_MIN / 1000.0)
        is_alone = self._accounts.share is not None
        jitter = 1.0 + JITTER * (2.0 * self._random.random() - 1.0)
        pause_ms = HEARTBEAT_MS if is_alone else ROUND_MS * jitter - ROUND_GAP_MS_MIN
        try:
            async with asyncio.timeout(pause_ms / 1000.0):
                await self._asked.wait()
        except TimeoutError:
            pass
        self._asked.clear()
