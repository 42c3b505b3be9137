"""The store in Redis, shared by all replicas."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from services.common.errors import StoreUnavailable
from services.common.store.interface import SCAN_KEYS_MAX

TIMEOUT_S = 2.0
CONNECTIONS_MAX = 32


class RedisStore:
    """Keys live in one Redis; every command has a timeout of `TIMEOUT_S`."""

    def __init__(self, url: str) -> None:
        """Raises `StoreUnavailable` for an address that is none; connects at the first command."""
        self._shown = re.sub(r"//[^@/]*@", "//***@", url)  # never a password in an error or a log
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                max_connections=CONNECTIONS_MAX,
                timeout=TIMEOUT_S,  # the wait for a free connection
            )
        except ValueError as error:
            raise StoreUnavailable(f"{self._shown!r} is not an address of Redis: {error}") from None
        self._redis = Redis.from_pool(pool)

    async def ping(self) -> None:
        """See `Store`."""
        async with self._translated():
            await self._redis.ping()

    async def get(self, key: str) -> bytes | None:
        """See `Store`."""
        async with self._translated():
            value = await self._redis.get(key)
        return value.encode() if isinstance(value, str) else value

    async def set(self, key: str, value: bytes, ttl_ms: int) -> None:
        """See `Store`."""
        async with self._translated():
            await self._redis.set(key, value, px=ttl_ms)

    async def delete(self, key: str) -> bool:
        """See `Store`."""
        async with self._translated():
            return bool(await self._redis.delete(key))

    async def keys(self, prefix: str) -> list[str]:
        """See `Store`."""
        found: set[str] = set()
        async with self._translated():
            async for key in self._redis.scan_iter(match=_literal(prefix) + "*", count=1_000):
                found.add(key.decode())
                if len(found) >= SCAN_KEYS_MAX:
                    break
        return sorted(found)

    async def close(self) -> None:
        """See `Store`."""
        await self._redis.aclose()

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis at {self._shown} does not answer: {error}") from error


def _literal(text: str) -> str:
    """Text in a Redis pattern that stands for itself."""
    return "".join("\\" + sign if sign in "*?[]^\\" else sign for sign in text)
