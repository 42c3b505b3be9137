"""What the connection to Redis adds to redis-py."""

import asyncio

import pytest

from services.common.errors import StoreUnavailable
from services.common.store.client import RedisClient, shown


async def test_a_cancellation_is_never_lost(redis_url: str) -> None:
    """Whichever step of a command it comes at."""
    client = RedisClient(redis_url, timeout_s=2.0, connections_max=2)
    for steps in range(30):
        task = asyncio.ensure_future(_ping(client))
        for _ in range(steps):
            await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled(), f"cancelled after {steps} steps, it went on"
    await client.close()


async def test_a_task_that_cleans_up_after_its_cancellation_can(redis_url: str) -> None:
    client = RedisClient(redis_url, timeout_s=2.0, connections_max=2)
    done = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(2):
                await _ping(client)
                done.append(True)

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert done == [True, True]
    await client.close()


async def _ping(client: RedisClient) -> None:
    async with client.commands() as redis:
        await redis.ping()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://:pw@host:1/0", "redis://***@host:1/0"),
        ("rediss://user:p@w@host", "rediss://***@host"),
        ("redis://host:1/0?password=pw", "redis://host:1/0"),
        ("unix:///run/redis?username=u&password=pw", "unix:///run/redis"),
    ],
)
def test_an_address_is_told_without_its_password(url: str, told: str) -> None:
    assert shown(url) == told


async def test_an_error_tells_no_password() -> None:
    client = RedisClient("redis://127.0.0.1:1/0?password=pw-unseen", timeout_s=1.0, connections_max=1)
    with pytest.raises(StoreUnavailable) as away:
        await _ping(client)
    await client.close()
    assert "pw-unseen" not in str(away.value)


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), TypeError("x"), UnicodeDecodeError("u", b"", 0, 1, "x")]
)
async def test_a_reply_that_is_none_of_ours_is_as_good_as_no_reply(redis_url: str, error: Exception) -> None:
    client = RedisClient(redis_url, timeout_s=2.0, connections_max=2)
    with pytest.raises(StoreUnavailable, match="what pdmesh has not written"):
        async with client.commands():
            raise error
    await _ping(client)
    await client.close()
