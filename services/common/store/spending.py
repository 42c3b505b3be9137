"""What gateways may spend of tenants' money, leased to them by Redis.

What was spent is what the ledger has counted there, so leases hold nothing that must not be lost: a gateway
that dies gives back what it held, and what it had booked is found in its file.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from services.common.store.client import RedisClient
from services.common.store.ledger import SPENT_TTL_MS, spent_key
from services.common.store.purses import PurseLease, PurseReport
from services.common.store.script import Script

PREFIX = "{pdmesh}:spending:"
"""The braces keep all keys of one script on one node of a cluster."""
REPLY_FIELDS = 5

_LEASE = Script.beside(__file__, "spending.lua")


class Spending:
    """All tenants' budgets of money in one Redis."""

    def __init__(self, client: RedisClient, lease_ms: int) -> None:
        """Without a report for `lease_ms`, a gateway is taken for dead and holds nothing."""
        self._client = client
        self._lease_ms = lease_ms

    async def reconcile(self, gateway_id: str, reports: Sequence[PurseReport]) -> list[PurseLease]:
        """The leases for each report; one round trip. Raises `StoreUnavailable`: then nothing was granted."""
        if not reports:
            return []
        keys = [key for report in reports for key in _keys(report)]
        numbers = [number for report in reports for number in _numbers(report)]

        def read(reply: list[Any]) -> list[PurseLease]:
            told = list(map(int, reply))
            return [_lease(told[REPLY_FIELDS * i :][:REPLY_FIELDS]) for i in range(len(reports))]

        return await _LEASE.run(
            self._client, keys, [gateway_id, self._lease_ms, SPENT_TTL_MS, *numbers], read
        )


def _keys(report: PurseReport) -> tuple[str, str]:
    tenant = quote(report.tenant, safe="")
    return spent_key(report.tenant, report.period), f"{PREFIX}{tenant}:{report.period}"


def _numbers(report: PurseReport) -> tuple[int, ...]:
    return (
        *(report.limit, report.outstanding, report.reserved),
        *(report.wanted, report.least, report.seed),
    )


def _lease(numbers: Sequence[int]) -> PurseLease:
    granted, left, recoverable, spent, contended = numbers
    return PurseLease(granted, left, recoverable, spent, bool(contended))
