"""Usage counters in Redis: one hash per day, every use counted once.

A gateway numbers what it books, and Redis keeps the number up to which it has counted that gateway's log: the
same entries sent again, by it or by whoever finds its log, change nothing.
"""

from collections.abc import Sequence
from urllib.parse import quote, unquote

from services.common.store.client import RedisClient
from services.common.store.script import Script
from services.common.store.usage import DAYS_MAX, UsageEntry, UsageRow, rows_of

PREFIX = "{pdmesh}:usage:"
"""The braces keep all keys of one script on one node of a cluster."""
SPENT_PREFIX = "{pdmesh}:spent:"
DAY_MS = 86_400_000
LOG_TTL_MS = 30 * DAY_MS
"""How long it is remembered what was counted of a log; an older log is not to be added any more."""
SPENT_TTL_MS = 40 * DAY_MS
"""How long it is remembered what a tenant has spent on a day or in a month: longer than any month."""

_ADD = Script.beside(__file__, "ledger.lua")


class RedisLedger:
    """A `Ledger` that all gateways share."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def add(self, log_id: str, entries: Sequence[UsageEntry]) -> int:
        """See `Ledger`; one round trip."""
        keys = [f"{PREFIX}log:{log_id}"]
        numbers: list[str | int] = [LOG_TTL_MS, DAYS_MAX * DAY_MS, SPENT_TTL_MS]
        for entry in entries:
            month = entry.day[:7]
            keys += (PREFIX + entry.day, spent_key(entry.tenant, entry.day), spent_key(entry.tenant, month))
            numbers += _numbers(entry)
        return await _ADD.run(self._client, keys, numbers, int)

    async def rows(self, days: Sequence[str]) -> list[UsageRow]:
        """See `Ledger`; one round trip."""
        async with self._client.commands() as redis, redis.pipeline(transaction=False) as pipeline:
            for day in days:
                pipeline.hgetall(PREFIX + day)
            found: list[dict[bytes, bytes]] = await pipeline.execute()
            counters = zip(days, map(_counters, found), strict=True)
            return [row for day, counted in counters for row in rows_of(day, counted)]

    async def close(self) -> None:
        """See `Ledger`."""
        await self._client.close()


def spent_key(tenant: str, period: str) -> str:
    """Where it stands what a tenant has spent, in billionths; `period` is a day or a month in UTC."""
    return f"{SPENT_PREFIX}{quote(tenant, safe='')}:{period}"


def _numbers(entry: UsageEntry) -> tuple[int | str, ...]:
    prefix = f"{quote(entry.tenant, safe='')}/{quote(entry.model, safe='')}/"
    used = (entry.prompt_tokens, entry.cached_tokens, entry.generated_tokens)
    return (entry.number, prefix, *used, entry.kv_token_ms, entry.cost_nano)


def _counters(fields: dict[bytes, bytes]) -> dict[tuple[str, str, str], int]:
    counters = {}
    for field, value in fields.items():
        tenant, model, counter = field.decode().split("/")
        counters[unquote(tenant), unquote(model), counter] = int(value)
    return counters
