"""Budgets of money with a real Redis: four gateways spend one at once, as fast as they can."""

import asyncio
from pathlib import Path
from random import Random

import pytest
from prometheus_client import CollectorRegistry

from services.common.clock import MonotonicClock
from services.common.errors import BudgetSpent
from services.gateway.accounts.metering import open_metering
from services.gateway.accounts.quota import Quotas
from services.gateway.accounts.quota.opening import open_quotas
from services.gateway.call.parts import Meter, Use
from services.gateway.tenants import Caller, TenantQuota
from services.gateway.tenants.caller import MoneyBudget

LIMIT = 1_000_000_000
COST_MAX = LIMIT // 500
ACME = Caller(tenant="acme", quota=TenantQuota(budget=MoneyBudget(day_nano=LIMIT)))
PRICE = ("m=1/1/1",)
"""A thousand billionths for each token."""


async def spend_all(quotas: Quotas, meter: Meter, random: Random) -> int:
    """Spend until a request is refused; returns what."""
    spent = 0
    while True:
        most = random.randrange(1, COST_MAX // 1_000)
        if (waiting := quotas.borrow(ACME, most, most * 1_000)) is not None:
            await waiting
        try:
            reservation = quotas.reserve(ACME, most, most * 1_000)
        except BudgetSpent:
            return spent
        used = random.randrange(most + 1)
        cost = meter.record(Use("r", "acme", "m", used, 0, 0, 0.0))
        reservation.settle(used, cost)
        spent += cost
        await asyncio.sleep(0)


@pytest.mark.timeout(120)
async def test_four_gateways_spend_all_of_a_budget_and_no_more(redis_url: str, tmp_path: Path) -> None:
    opened = []
    try:
        async with asyncio.TaskGroup() as tasks:
            running = []
            for number in range(4):
                quotas = open_quotas(redis_url, f"g{number}", MonotonicClock(), CollectorRegistry())
                meter, ledger = open_metering(redis_url, str(tmp_path), PRICE, CollectorRegistry())
                meter.on_counted = quotas.counted
                opened.append((quotas, meter))
                running += [tasks.create_task(quotas.run()), tasks.create_task(meter.run())]
            spends = [spend_all(quotas, meter, Random(nth)) for nth, (quotas, meter) in enumerate(opened)]
            spent = sum(await asyncio.gather(*spends))
            for _, meter in opened:
                assert await meter.flush()
            (row,) = await ledger.rows([opened[0][1].today().isoformat()])
            for task in running:
                task.cancel()
    finally:
        for quotas, meter in opened:
            await meter.close()
            await quotas.close()
    assert row.cost == pytest.approx(spent / 1e9)
    assert LIMIT - COST_MAX <= spent <= LIMIT * 1.01
