"""A connection to Redis, and its faults in one line."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from services.common.errors import StoreUnavailable


class RedisClient:
    """One Redis with at most `connections_max` connections; every command has a timeout."""

    def __init__(self, url: str, *, timeout_s: float, connections_max: int) -> None:
        """Raises `StoreUnavailable` for an address that is none; connects at the first command."""
        self._shown = shown(url)
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                max_connections=connections_max,
                timeout=timeout_s,  # the wait for a free connection
            )
        except ValueError as error:
            raise StoreUnavailable(f"{self._shown!r} is not an address of Redis: {error}") from None
        self.redis = Redis.from_pool(pool)

    @asynccontextmanager
    async def commands(self) -> AsyncIterator[Redis]:
        """Redis itself; what goes wrong inside the block becomes `StoreUnavailable`. Replies are to be read
        in there, too: one that is not what was asked for is no better than none.

        A cancellation that comes while redis-py sends is lost in its `asyncio.wait_for`; it is raised here.
        """
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task else 0
        try:
            yield self.redis
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis at {self._shown} does not answer: {error}") from error
        except (ValueError, TypeError, LookupError) as error:  # another program's keys, or a proxy's reply
            raise StoreUnavailable(
                f"Redis at {self._shown} answers with what pdmesh has not written: {error!r}"
            ) from error
        finally:
            if task and task.cancelling() > cancelled_before:
                raise asyncio.CancelledError

    async def close(self) -> None:
        """Let go of connections; idempotent."""
        await self.redis.aclose()


def shown(url: str) -> str:
    """An address without its password, for errors and logs: neither the user's part nor its parameters."""
    return re.sub(r"//.*@", "//***@", url.partition("?")[0])
