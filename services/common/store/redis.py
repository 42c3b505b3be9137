"""The store in Redis, shared by all replicas."""

from typing import cast

from services.common.store.client import RedisClient
from services.common.store.interface import MEMBERS_MAX
from services.common.store.script import Script

_CLAIM = Script.beside(__file__, "claim.lua")
_ROSTER = Script.beside(__file__, "roster.lua")
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

    async def enter(self, roster: str, member: str, ttl_ms: int) -> list[str]:
        """See `Store`; one round trip."""
        return await self._roster(roster, member, ttl_ms)

    async def leave(self, roster: str, member: str) -> None:
        """See `Store`."""
        await self._roster(roster, member, 0)

    async def members(self, roster: str) -> list[str]:
        """See `Store`."""
        return await self._roster(roster, "", 1)

    async def _roster(self, roster: str, member: str, ttl_ms: int) -> list[str]:
        return await _ROSTER.run(self._client, [roster], [member, ttl_ms, MEMBERS_MAX], _names)

    async def close(self) -> None:
        """See `Store`."""
        await self._client.close()


def _names(reply: list[bytes]) -> list[str]:
    return sorted(name.decode() for name in reply)
