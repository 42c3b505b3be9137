"""A connection to Redis, and its faults in one line."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import cast

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import ClusterDownError, MasterDownError, ReadOnlyError, RedisError, ResponseError

from services.common.errors import StoreUnavailable
from services.common.store.address import Bounds, open_redis, sentinels_of

NO_MASTER = ("READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "LOADING")
"""How a server says within a script's error that it takes no writes, or no more."""


class RedisClient:
    """One Redis with at most `connections_max` connections; every command has a timeout."""

    def __init__(self, url: str, *, timeout_s: float, connections_max: int) -> None:
        """Raises `StoreUnavailable` for an address that is none; connects at the first command."""
        self._shown = shown(url)
        try:
            client = open_redis(url, Bounds(timeout_s, connections_max))
        except (ValueError, TypeError) as error:
            raise StoreUnavailable(f"{self._shown!r} is not an address of Redis: {error}") from None
        self.is_cluster = isinstance(client, RedisCluster)
        """Where a pipeline takes no scripts."""
        self._sentinels = sentinels_of(client)
        self.redis = cast(Redis, client)  # both have the commands that are used here

    @asynccontextmanager
    async def commands(self) -> AsyncIterator[Redis]:
        """Redis itself; what goes wrong inside the block becomes `StoreUnavailable`. Replies are to be read
        in there, too: one that is not what was asked for is no better than none.

        After a fault that may mean another server is the right one, connections are made anew.

        A cancellation that comes while redis-py sends is lost in its `asyncio.wait_for`; it is raised here.
        """
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task else 0
        try:
            yield self.redis
        except (RedisError, OSError) as error:
            if _may_be_elsewhere(error):
                await self._let_go()
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
        for client in (self.redis, *self._sentinels):
            await client.aclose()

    async def _let_go(self) -> None:
        """The next command resolves the address anew. Commands under way elsewhere find out by themselves."""
        with suppress(RedisError, OSError):
            if self.is_cluster:
                await self.redis.aclose()
            else:
                await self.redis.connection_pool.disconnect(inuse_connections=False)


def _may_be_elsewhere(error: Exception) -> bool:
    """Whether the server is away, or says that it takes no writes; a refused command is no such fault."""
    if isinstance(error, ReadOnlyError | MasterDownError | ClusterDownError):
        return True
    return not isinstance(error, ResponseError) or any(word in str(error) for word in NO_MASTER)


def shown(url: str) -> str:
    """An address without its password, for errors and logs: neither the user's part nor its parameters."""
    return re.sub(r"//.*@", "//***@", url.partition("?")[0])
