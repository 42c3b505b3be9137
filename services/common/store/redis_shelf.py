"""The shelf in Redis, shared by all replicas."""

import time
from hashlib import blake2b
from typing import cast

from services.common.credentials.seal import Seal, Unsealed
from services.common.store.client import RedisClient
from services.common.store.script import Script
from services.common.store.shelf import ShelfBounds

_KEEP = Script.beside(__file__, "shelf.lua")
_REMOVE = Script.beside(__file__, "shelf_remove.lua")
OPEN = Seal(())
PREFIX = "pdmesh:shelf:"
TIMEOUT_S = 2.0
CONNECTIONS_MAX = 16


class RedisShelf:
    """Entries live in one Redis (a `Shelf`); owners and names travel as hashes."""

    def __init__(self, url: str, bounds: ShelfBounds, *, seal: Seal = OPEN) -> None:
        """Raises `StoreUnavailable` for an address that is none; connects at the first command.

        Entries pass through `seal` on their way to Redis and back.
        """
        self._seal = seal
        self._client = RedisClient(url, timeout_s=TIMEOUT_S, connections_max=CONNECTIONS_MAX)
        self._bounds = bounds

    async def keep(self, owner: str, name: str, value: bytes) -> None:
        """See `Shelf`."""
        bounds = self._bounds
        limits = [bounds.ttl_ms, bounds.entries_per_owner_max, bounds.bytes_per_owner_max]
        keys = self._keys(owner, name)
        sealed = self._seal.close(value, keys[0].encode())
        await _KEEP.run(self._client, keys, [sealed, *limits, time.time_ns() // 1000], bool)

    async def find(self, owner: str, name: str) -> bytes | None:
        """See `Shelf`."""
        key = self._keys(owner, name)[0]
        async with self._client.commands() as redis:
            sealed = cast("bytes | None", await redis.get(key))
        try:
            return None if sealed is None else self._seal.open(sealed, key.encode())
        except Unsealed:  # a gateway with another secret has kept it: to this one it is not there
            return None

    async def remove(self, owner: str, name: str) -> bool:
        """See `Shelf`."""
        return await _REMOVE.run(self._client, self._keys(owner, name), [], bool)

    async def close(self) -> None:
        """See `Shelf`."""
        await self._client.close()

    def _keys(self, owner: str, name: str) -> list[str]:
        """Of the entry, and of its owner's index and sizes; the braces keep them together in a cluster."""
        own = f"{PREFIX}{{{_hash(owner)}}}"
        return [f"{own}:{_hash(name)}", own, f"{own}:sizes"]


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
