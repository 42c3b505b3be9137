"""What Redis grants, and that the model of it grants the same."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.clock import ManualClock
from services.common.errors import StoreUnavailable
from services.common.store.budgets import Budgets
from services.common.store.client import RedisClient
from services.common.store.leases import (
    UNUSED_POOL,
    UNUSED_SLOTS,
    BudgetReport,
    Lease,
    PoolReport,
    SlotsReport,
)
from tests.unit.gateway.quota.model_budgets import ModelBudgets

SLOW = 60
"""A limit that gains one a second: next to nothing while a test runs."""


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[RedisClient]:
    opened = RedisClient(redis_url, timeout_s=2.0, connections_max=2)
    await opened.redis.flushall()
    yield opened
    await opened.close()


@pytest.fixture
def budgets(client: RedisClient) -> Budgets:
    return Budgets(client, lease_ms=60_000)


def tokens(
    held: int = 0, returned: int = 0, wanted: int = 0, limit: int = SLOW, seed: int = SLOW
) -> BudgetReport:
    return BudgetReport("acme", PoolReport(limit, held, returned, wanted, seed), UNUSED_POOL, UNUSED_SLOTS)


def slots(held: int, wanted: int, limit: int = 4) -> BudgetReport:
    return BudgetReport("acme", UNUSED_POOL, UNUSED_POOL, SlotsReport(limit, held, wanted))


async def leased(budgets: Budgets, gateway: str, report: BudgetReport) -> Lease:
    _, (lease,) = await budgets.reconcile(gateway, [report])
    return lease.tokens if report.slots == UNUSED_SLOTS else lease.slots


async def test_a_new_bucket_is_full_and_is_never_given_twice(budgets: Budgets) -> None:
    assert await leased(budgets, "a", tokens(wanted=40)) == Lease(40, 20)
    assert await leased(budgets, "b", tokens(wanted=40)) == Lease(20, 0)
    assert (await leased(budgets, "a", tokens(held=40, wanted=10))).granted == 0


async def test_what_one_gives_back_another_gets(budgets: Budgets) -> None:
    await leased(budgets, "a", tokens(wanted=60))
    assert (await leased(budgets, "a", tokens(held=30, returned=30))).left == 30
    assert (await leased(budgets, "b", tokens(wanted=60))).granted == 30


async def test_a_bucket_and_all_leases_together_hold_one_limit_at_most(budgets: Budgets) -> None:
    await leased(budgets, "a", tokens(wanted=20))
    assert (await leased(budgets, "b", tokens(returned=60))).left == 40


async def test_a_lost_bucket_begins_with_what_the_gateway_knew(budgets: Budgets) -> None:
    assert await leased(budgets, "a", tokens(wanted=60, seed=7)) == Lease(7, 0)


async def test_a_debt_does_not_make_room(budgets: Budgets) -> None:
    await leased(budgets, "a", tokens(held=-500))
    assert await leased(budgets, "b", tokens(wanted=100)) == Lease(60, 0)


async def test_slots_are_shared_and_taken_back_where_there_are_too_many(budgets: Budgets) -> None:
    assert await leased(budgets, "a", slots(0, 3)) == Lease(3, 1)
    assert await leased(budgets, "b", slots(0, 3)) == Lease(1, 0)
    assert await leased(budgets, "b", slots(4, 1)) == Lease(-3, 0)


async def test_holders_learn_that_another_gateway_is_short(budgets: Budgets) -> None:
    async def is_contended(gateway: str, report: BudgetReport) -> bool:
        _, (lease,) = await budgets.reconcile(gateway, [report])
        return lease.is_contended

    assert not await is_contended("a", tokens(wanted=40))
    assert not await is_contended("b", tokens(wanted=40))
    assert not await is_contended("b", tokens(held=20))
    assert await is_contended("a", tokens(held=40))


async def test_a_dead_gateways_slots_are_free_after_its_lease(client: RedisClient) -> None:
    brief, long = Budgets(client, lease_ms=50), Budgets(client, lease_ms=60_000)
    assert (await brief.reconcile("dead", [slots(0, 4)]))[0] == 1
    while (await leased(long, "b", slots(0, 4))).granted < 4:
        await asyncio.sleep(0.01)
    assert (await long.reconcile("b", []))[0] == 1


async def test_all_it_keeps_ends_by_itself(client: RedisClient, budgets: Budgets) -> None:
    await leased(budgets, "a", tokens(wanted=1))
    keys = await client.redis.keys("*")
    assert len(keys) == 2
    assert all([0 < await client.redis.pttl(key) <= 150_000 for key in keys])


async def test_a_redis_that_has_forgotten_the_script_is_told_again(
    client: RedisClient, budgets: Budgets
) -> None:
    await leased(budgets, "a", tokens(wanted=1))
    await client.redis.script_flush()
    assert (await leased(budgets, "a", tokens(wanted=1))).granted == 1


async def test_a_store_that_is_away_is_said_to_be() -> None:
    client = RedisClient("redis://127.0.0.1:1/0", timeout_s=0.5, connections_max=1)
    with pytest.raises(StoreUnavailable):
        await Budgets(client, 1_000).reconcile("a", [])
    await client.close()


AMOUNTS = st.integers(0, 90)
REPORTS = st.builds(
    lambda gateway, held, returned, wanted, slots_held, slots_wanted: (
        gateway,
        BudgetReport(
            "",
            PoolReport(SLOW, held, returned, wanted, 50),
            PoolReport(2 * SLOW, returned, held, wanted, 120),
            SlotsReport(8, slots_held, slots_wanted),
        ),
    ),
    st.sampled_from("abc"),
    AMOUNTS,
    AMOUNTS,
    AMOUNTS,
    st.integers(0, 8),
    st.integers(0, 8),
)


@given(st.lists(REPORTS, min_size=1, max_size=8))
def test_the_model_grants_what_redis_grants(redis_url: str, reports: list[tuple[str, BudgetReport]]) -> None:
    async def play() -> None:
        client = RedisClient(redis_url, timeout_s=2.0, connections_max=1)
        real, model = Budgets(client, 60_000), ModelBudgets(ManualClock(), 60_000)
        tenant = uuid.uuid4().hex
        for gateway, report in reports:
            named = BudgetReport(tenant, report.tokens, report.requests, report.slots)
            _, (got,) = await real.reconcile(gateway, [named])
            _, (expected,) = await model.reconcile(gateway, [named])
            assert got.slots == expected.slots
            assert got.is_contended == expected.is_contended
            # Time goes on in Redis: a bucket that gains one or two a second may be one ahead.
            for ours, theirs in ((got.tokens, expected.tokens), (got.requests, expected.requests)):
                assert abs(ours.granted + ours.left - theirs.granted - theirs.left) <= 1
        await client.close()

    asyncio.run(play())
