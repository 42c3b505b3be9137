"""The store in Redis, shared by all replicas."""

from typing import cast

from services.common.store.client import RedisClient
from services.common.store.interface import SCAN_KEYS_MAX
from services.common.store.script import Script

_CLAIM = Script.beside(__file__, "claim.lua")
TIMEOUT_S = 2.0
CONNECTIONS_MAX = 32


class RedisStore:
    """Keys live in one Redis; every command has a timeout of `TIMEOUT_S`."""

    def __init__(self, url: str) -> None:
        """Raises `StoreUnavailable` for an address that is none; connects at the first command."""
        self._client = RedisClient(url, timeout_s=TIMEOUT_S, connections_max=CONNECTIONS_MAX)

    async def ping(self) -> None:
        """See `Store`."""
        async with self._client.commands() as redis:
            await redis.ping()

    async def get(self, key: str) -> bytes | None:
        """See `Store`."""
        async with self._client.commands() as redis:
            return cast("bytes | None", await redis.get(key))

    async def set(self, key: str, value: bytes, ttl_ms: int) -> None:
        """See `Store`."""
        async with self._client.commands() as redis:
            await redis.set(key, value, px=ttl_ms)

    async def claim(self, key: str, value: bytes, ttl_ms: int) -> bytes:
        """See `Store`."""
        return await _CLAIM.run(self._client, [key], [value, ttl_ms], bytes)

    async def delete(self, key: str) -> bool:
        """See `Store`."""
        async with self._client.commands() as redis:
            return bool(await redis.delete(key))

    async def keys(self, prefix: str) -> list[str]:
        """See `Store`."""
        found: set[str] = set()
        async with self._client.commands() as redis:
            async for key in redis.scan_iter(match=_literal(prefix) + "*", count=1_000):
                found.add(key.decode())
                if len(found) >= SCAN_KEYS_MAX:
                    break
        return sorted(found)

    async def close(self) -> None:
        """See `Store`."""
        await self._client.close()


def _literal(text: str) -> str:
    """Text in a Redis pattern that stands for itself."""
    return "".join("\\" + sign if sign in "*?[]^\\" else sign for sign in text)
