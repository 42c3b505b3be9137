"""Both ledgers count the same, and every entry once."""

from collections.abc import AsyncIterator

import pytest

from services.common.errors import StoreUnavailable
from services.common.store.client import RedisClient
from services.common.store.ledger import RedisLedger, spent_key
from services.common.store.memory_ledger import MemoryLedger
from services.common.store.usage import Ledger, UsageEntry, UsageRow

DAY = "2026-01-31"


def entry(number: int, *, day: str = DAY, tenant: str = "acme", model: str = "m") -> UsageEntry:
    return UsageEntry(number, day, tenant, model, 10, 4, 5, 1_500, 7)


def row(times: int, *, day: str = DAY, tenant: str = "acme", model: str = "m") -> UsageRow:
    return UsageRow(day, tenant, model, times, 10 * times, 4 * times, 5 * times, 1.5 * times, 7e-9 * times)


@pytest.fixture(params=["memory", "redis"])
async def ledger(request: pytest.FixtureRequest) -> AsyncIterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger()
        return
    client = RedisClient(request.getfixturevalue("redis_url"), timeout_s=2.0, connections_max=2)
    await client.redis.flushall()
    yield RedisLedger(client)
    await client.close()


async def test_adds_up_by_day_tenant_and_model(ledger: Ledger) -> None:
    others = [
        entry(3, tenant="b/c %"),
        entry(4, model="org/m"),
        entry(5, day="2026-02-01"),
        entry(6, tenant=""),
    ]
    assert await ledger.add("log", [entry(1), entry(2), *others]) == 6
    assert await ledger.rows([DAY, "2026-02-01", "2026-02-02"]) == [
        row(1, tenant=""),
        row(2),
        row(1, model="org/m"),
        row(1, tenant="b/c %"),
        row(1, day="2026-02-01"),
    ]


async def test_entries_that_come_again_change_nothing(ledger: Ledger) -> None:
    await ledger.add("log", [entry(1), entry(2)])
    assert await ledger.add("log", [entry(1), entry(2), entry(3)]) == 1
    assert await ledger.add("log", [entry(2)]) == 0
    assert await ledger.rows([DAY]) == [row(3)]


async def test_logs_are_counted_each_for_itself(ledger: Ledger) -> None:
    assert await ledger.add("one", [entry(1)]) == 1
    assert await ledger.add("two", [entry(1)]) == 1


async def test_what_a_tenant_has_spent_is_kept_by_day_and_month(redis_url: str) -> None:
    client = RedisClient(redis_url, timeout_s=2.0, connections_max=2)
    await client.redis.flushall()
    ledger = RedisLedger(client)
    entries = [entry(1), entry(2, day="2026-02-01"), entry(3, model="other"), entry(4, tenant="b c")]
    await ledger.add("log", entries)
    await ledger.add("log", entries)
    periods = (("acme", DAY), ("acme", "2026-01"), ("acme", "2026-02"), ("b c", DAY))
    assert [int(await client.redis.get(spent_key(*period))) for period in periods] == [14, 14, 7, 7]
    await client.close()


async def test_all_that_redis_keeps_of_it_ends_by_itself(redis_url: str) -> None:
    client = RedisClient(redis_url, timeout_s=2.0, connections_max=2)
    await client.redis.flushall()
    await RedisLedger(client).add("log", [entry(1)])
    keys = await client.redis.keys("*")
    assert len(keys) == 4  # the log, the day's counters, and what was spent on the day and in the month
    assert all([await client.redis.pttl(key) > 0 for key in keys])
    await client.close()


async def test_sums_are_exact_beyond_what_a_double_holds(redis_url: str) -> None:
    client = RedisClient(redis_url, timeout_s=2.0, connections_max=2)
    await client.redis.flushall()
    ledger = RedisLedger(client)
    huge = UsageEntry(1, DAY, "acme", "m", 2**53, 0, 0, 0, 0)
    await ledger.add("log", [huge, UsageEntry(2, DAY, "acme", "m", 1, 0, 0, 0, 0)])
    assert (await ledger.rows([DAY]))[0].prompt_tokens == 2**53 + 1
    await client.close()


async def test_a_store_that_is_away_is_said_to_be() -> None:
    ledger = RedisLedger(RedisClient("redis://127.0.0.1:1/0", timeout_s=0.5, connections_max=1))
    with pytest.raises(StoreUnavailable):
        await ledger.add("log", [entry(1)])
    with pytest.raises(StoreUnavailable):
        await ledger.rows([DAY])
    await ledger.close()
