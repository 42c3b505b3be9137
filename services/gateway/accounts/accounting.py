"""Quotas and metering of one gateway, put together from its settings."""

import asyncio

from prometheus_client import CollectorRegistry

from services.common.background import keep_running
from services.common.clock import Clock
from services.gateway.accounts.metering import open_metering
from services.gateway.accounts.metering.report import UsageReport
from services.gateway.accounts.quota.opening import open_quotas
from services.gateway.settings import Settings


class Accounting:
    """What tenants may use, and what they did."""

    def __init__(
        self, settings: Settings, gateway_id: str, clock: Clock, registry: CollectorRegistry
    ) -> None:
        """Raises `BadSetting`, and `StoreUnavailable` for an address that is none."""
        fails_closed = settings.store_failure == "closed"
        self.meter, ledger = open_metering(settings.store, settings.usage_dir, settings.price, registry)
        self.quotas = open_quotas(settings.store, gateway_id, clock, registry, fails_closed=fails_closed)
        self.report = UsageReport(self.meter, ledger)

    async def run(self) -> None:
        """Keep in step with the store until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_running("quotas", self.quotas.run))
            tasks.create_task(self.meter.run())

    async def close(self) -> None:
        """Have the store count what is left, and let go of it."""
        await self.meter.close()
        await self.quotas.close()
