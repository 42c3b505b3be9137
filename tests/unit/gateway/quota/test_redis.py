"""Quotas with a real Redis: four processes under full load, and a Redis that goes and comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from services.common.clock import MonotonicClock
from services.common.errors import QuotaExceeded
from services.gateway.accounts.quota import Quotas
from services.gateway.accounts.quota.opening import open_quotas
from services.gateway.tenants import Caller, TenantQuota
from tests.bench.quota import measure
from tests.redis_server import redis_server, running_redis

LIMIT = 60_000
ACME = Caller(tenant="acme", quota=TenantQuota(tokens_per_minute=LIMIT))


@asynccontextmanager
async def gateway(store: str, name: str) -> AsyncIterator[tuple[Quotas, CollectorRegistry]]:
    """One gateway's quotas with their rounds running."""
    registry = CollectorRegistry()
    quotas = open_quotas(store, name, MonotonicClock(), registry)
    try:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(quotas.run())
            yield quotas, registry
            running.cancel()
    finally:
        await quotas.close()


async def is_let_in(quotas: Quotas, tokens: int) -> bool:
    if (waiting := quotas.borrow(ACME, tokens)) is not None:
        await waiting
    try:
        quotas.reserve(ACME, tokens)
    except QuotaExceeded:
        return False
    return True


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


def is_up(registry: CollectorRegistry) -> bool:
    return registry.get_sample_value("pdmesh_gateway_quota_store_up") == 1


@pytest.mark.timeout(120)
def test_four_gateways_under_full_load_stay_within_two_percent_of_the_limit() -> None:
    result = measure(gateways=4, limit=600_000, seconds=4.0)
    assert result.overshoot_of_limit < 0.02
    assert result.used_of_allowed > 0.5  # not by refusing everything
    assert result.refused > 0


async def test_what_one_gateway_used_another_does_not_give_again() -> None:
    with running_redis() as store:
        async with gateway(store, "a") as (first, _), gateway(store, "b") as (second, _):
            assert await is_let_in(first, LIMIT)
            assert not await is_let_in(second, LIMIT // 10)


async def test_redis_dies_and_comes_back_empty() -> None:
    with redis_server() as redis:
        async with gateway(redis.url, "a") as (first, told), gateway(redis.url, "b") as (second, _):
            assert await is_let_in(first, LIMIT // 2)
            assert await is_let_in(second, LIMIT // 4)
            redis.kill()
            await until(lambda: not is_up(told))
            assert not await is_let_in(first, LIMIT * 2 // 3)
            redis.start()
            await until(lambda: is_up(told))
            assert not await is_let_in(first, LIMIT * 2 // 3)
            assert await is_let_in(first, 1)


@pytest.mark.parametrize("store", ["redis://127.0.0.1:1/0"])
async def test_a_redis_that_was_never_there_does_not_keep_anybody_waiting(store: str) -> None:
    async with gateway(store, "a") as (quotas, told):
        assert await is_let_in(quotas, LIMIT)
        assert not await is_let_in(quotas, LIMIT)
        assert not is_up(told)


async def test_without_a_store_there_is_nothing_to_run() -> None:
    async with gateway("", "a") as (quotas, told):
        assert quotas.borrow(ACME, LIMIT) is None
        assert await is_let_in(quotas, LIMIT)
        assert is_up(told)
