"""What gateways may spend of tenants' budgets, leased to them by Redis.

Each gateway spends only what it holds, so their sum stays within the limit without asking each other.
A lease is given up before the report that returns it is sent, and taken up after the reply that grants it:
what a lost message loses is lost, and nothing is ever held twice.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from services.common.store.client import RedisClient
from services.common.store.leases import BudgetLease, BudgetReport, Lease, PoolReport
from services.common.store.purses import PurseLease
from services.common.store.script import Script
from services.common.store.spending import Spending

GATEWAYS = "{pdmesh}:quota-gateways"
PREFIX = "{pdmesh}:quota:"
"""The braces keep all keys of one script on one node of a cluster."""

_RECONCILE = Script.beside(__file__, "budgets.lua")


class Budgets:
    """All tenants' budgets in one Redis."""

    def __init__(self, client: RedisClient, lease_ms: int) -> None:
        """Without a report for `lease_ms`, a gateway is taken for dead and its slots are free."""
        self._client = client
        self._lease_ms = lease_ms
        self._spending = Spending(client, lease_ms)

    async def reconcile(
        self, gateway_id: str, reports: Sequence[BudgetReport]
    ) -> tuple[int, list[BudgetLease]]:
        """How many gateways there are, and the leases for each report; one round trip, two with money.

        Raises `StoreUnavailable`: then nothing was granted, and what was returned is gone.
        """
        keys = [GATEWAYS, *(PREFIX + report.tenant for report in reports)]
        numbers = [number for report in reports for number in _numbers(report)]

        def read(reply: list[Any]) -> tuple[int, list[tuple[int, ...]]]:
            gateways, *leases = map(int, reply)
            return gateways, [tuple(leases[7 * i : 7 * i + 7]) for i in range(len(reports))]

        told: list[str | int] = [gateway_id, self._lease_ms, *numbers]
        gateways, leases = await _RECONCILE.run(self._client, keys, told, read)
        purses = [purse for report in reports for purse in report.purses]
        money = iter(await self._spending.reconcile(gateway_id, purses))
        return gateways, [
            _lease(lease, tuple(islice(money, len(report.purses))))
            for report, lease in zip(reports, leases, strict=True)
        ]

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()


def _numbers(report: BudgetReport) -> tuple[int, ...]:
    slots = report.slots
    return (*_pool(report.tokens), *_pool(report.requests), slots.limit, slots.held, slots.wanted)


def _pool(pool: PoolReport) -> tuple[int, ...]:
    return pool.limit, pool.held, pool.returned, pool.wanted, pool.seed


def _lease(numbers: Sequence[int], purses: tuple[PurseLease, ...]) -> BudgetLease:
    tokens, requests, slots = (Lease(*numbers[i : i + 2]) for i in (0, 2, 4))
    return BudgetLease(tokens, requests, slots, bool(numbers[6]), purses)
