"""What the connection to Redis adds to redis-py."""

import asyncio

from services.common.store.client import RedisClient


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
