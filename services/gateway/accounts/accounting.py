"""Quotas and metering of one gateway, put together from its settings."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry

from services.common.background import keep_running
from services.common.clock import Clock
from services.gateway.accounts.metering import open_metering
from services.gateway.accounts.metering.report import UsageReport
from services.gateway.accounts.quota.opening import open_quotas
from services.gateway.accounts.spending.calendar import Calendar
from services.gateway.accounts.spending.report import BudgetReport
from services.gateway.settings import Settings
from services.gateway.tenants.caller import NO_BUDGET, Caller

_log = logging.getLogger(__name__)


class Accounting:
    """What tenants may use, and what they did."""

    def __init__(
        self, settings: Settings, gateway_id: str, clock: Clock, registry: CollectorRegistry
    ) -> None:
        """Raises `BadSetting`, and `StoreUnavailable` for an address that is none."""
        fails_closed = settings.store_failure == "closed"
        self.meter, ledger = open_metering(settings.store, settings.usage_dir, settings.price, registry)
        self.quotas = open_quotas(settings.store, gateway_id, clock, registry, fails_closed=fails_closed)
        self.meter.on_counted = self.quotas.counted
        self._has_prices = bool(settings.price)
        self._budgets = BudgetReport(Calendar(time.time))
        self.report = UsageReport(self.meter, ledger, self._budgets)

    def watch(self, callers: Callable[[], Iterable[Caller]]) -> None:
        """Take who has budgets; `callers` gives all tenants as they are at present."""
        self._budgets.callers = callers
        if not self._has_prices and any(caller.quota.budget is not NO_BUDGET for caller in callers()):
            _log.warning(
                "budgets: tenants have budgets, and no --price is set: their requests cost nothing and the "
                "budgets are never spent"
            )

    async def run(self) -> None:
        """Keep in step with the store until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_running("quotas", self.quotas.run))
            tasks.create_task(self.meter.run())

    async def close(self) -> None:
        """Have the store count what is left, and let go of it."""
        await self.meter.close()
        await self.quotas.close()
