"""What Redis grants of money, and that the model of it grants the same."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.clock import ManualClock
from services.common.errors import StoreUnavailable
from services.common.store.client import RedisClient
from services.common.store.ledger import RedisLedger, spent_key
from services.common.store.purses import PurseLease, PurseReport
from services.common.store.spending import Spending
from services.common.store.usage import UsageEntry
from tests.unit.gateway.quota.model_purses import ModelPurses

DAY = "2026-01-31"


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[RedisClient]:
    opened = RedisClient(redis_url, timeout_s=2.0, connections_max=2)
    await opened.redis.flushall()
    yield opened
    await opened.close()


@pytest.fixture
def spending(client: RedisClient) -> Spending:
    return Spending(client, lease_ms=60_000)


def report(outstanding: int = 0, wanted: int = 0, *, reserved: int = 0, least: int = 1, seed: int = 0):
    return PurseReport("acme", DAY, 100, outstanding, reserved, wanted, least, seed)


async def leased(spending: Spending, gateway: str, told: PurseReport) -> PurseLease:
    (lease,) = await spending.reconcile(gateway, [told])
    return lease


async def test_what_one_holds_another_does_not_get(spending: Spending) -> None:
    assert await leased(spending, "a", report(wanted=60)) == PurseLease(60, 40, 0, 0)
    assert (await leased(spending, "b", report(wanted=60))).granted == 40
    lease = await leased(spending, "a", report(60, 10, reserved=50))
    assert (lease.granted, lease.left, lease.recoverable, lease.is_contended) == (0, 0, 40, True)


async def test_less_than_is_of_use_is_not_granted(spending: Spending) -> None:
    assert (await leased(spending, "a", report(30, 80, least=80))).granted == 0
    assert (await leased(spending, "a", report(0, 80, least=80))).granted == 80


async def test_what_the_ledger_counted_is_spent(client: RedisClient, spending: Spending) -> None:
    await RedisLedger(client).add("log", [UsageEntry(1, DAY, "acme", "m", 1, 0, 1, 0, 70)])
    assert await leased(spending, "a", report(wanted=60)) == PurseLease(30, 0, 0, 70)


async def test_a_store_that_has_lost_it_is_told_what_was_spent(
    client: RedisClient, spending: Spending
) -> None:
    assert (await leased(spending, "a", report(wanted=60, seed=90))).granted == 10
    assert await client.redis.get(spent_key("acme", DAY)) == b"90"
    assert (await leased(spending, "b", report(seed=20))).spent == 90


async def test_a_dead_gateways_lease_ends(client: RedisClient, spending: Spending) -> None:
    await leased(Spending(client, lease_ms=50), "dead", report(wanted=100))
    while (await leased(spending, "b", report(wanted=100))).granted < 100:
        await asyncio.sleep(0.01)


async def test_all_it_keeps_ends_by_itself(client: RedisClient, spending: Spending) -> None:
    await leased(spending, "a", report(wanted=1, seed=5))
    keys = await client.redis.keys("*")
    assert len(keys) == 2
    assert all([await client.redis.pttl(key) > 0 for key in keys])


async def test_a_store_that_is_away_is_said_to_be() -> None:
    client = RedisClient("redis://127.0.0.1:1/0", timeout_s=0.5, connections_max=1)
    with pytest.raises(StoreUnavailable):
        await Spending(client, 1_000).reconcile("a", [report()])
    await client.close()


AMOUNTS = st.integers(0, 120)
REPORTS = st.tuples(
    st.sampled_from("abc"),
    st.builds(
        lambda *numbers: PurseReport("", DAY, 100, *numbers),
        *(st.integers(-20, 120), AMOUNTS, AMOUNTS, st.integers(0, 50), st.integers(0, 80)),
    ),
)


@given(st.lists(REPORTS, min_size=1, max_size=8))
def test_the_model_grants_what_redis_grants(redis_url: str, reports: list[tuple[str, PurseReport]]) -> None:
    async def play() -> None:
        client = RedisClient(redis_url, timeout_s=2.0, connections_max=1)
        real, model = Spending(client, 60_000), ModelPurses(ManualClock(), 60_000)
        tenant = uuid.uuid4().hex
        for gateway, told in reports:
            named = PurseReport(
                tenant,
                told.period,
                told.limit,
                told.outstanding,
                told.reserved,
                told.wanted,
                told.least,
                told.seed,
            )
            assert await leased(real, gateway, named) == model.lease(gateway, named)
        await client.close()

    asyncio.run(play())
