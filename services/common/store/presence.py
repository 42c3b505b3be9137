"""Who is there: each process keeps a record of itself alive in the store."""

import asyncio
import json
import logging
from dataclasses import asdict, dataclass

from services.common.errors import StoreUnavailable
from services.common.store.interface import Store

log = logging.getLogger("pdmesh.store")

ROSTER = "pdmesh:present"
PREFIX = "pdmesh:presence:"
TTL_MS = 10_000
INTERVAL_S = 3.0


@dataclass(frozen=True, slots=True)
class Presence:
    """One process of the mesh."""

    role: str
    id: str
    url: str
    pid: int
    version: str

    @property
    def key(self) -> str:
        """Its key in the store."""
        return f"{PREFIX}{self.role}:{self.id}"


async def announce(store: Store, presence: Presence) -> None:
    """Keep the record alive until cancelled, then remove it; a store that is away is tried again."""
    record, is_away = json.dumps(asdict(presence)).encode(), False
    try:
        while True:
            try:
                await store.set(presence.key, record, TTL_MS)
                await store.enter(ROSTER, presence.key, TTL_MS)
                is_away = False
            except StoreUnavailable as away:  # nothing depends on presence; the next round tries again
                if not is_away:
                    log.warning("not among the present processes: %s", away)
                is_away = True
            await asyncio.sleep(INTERVAL_S)
    finally:
        try:
            await store.leave(ROSTER, presence.key)
            await store.delete(presence.key)
        except StoreUnavailable:
            pass  # its time to live ends it


async def present(store: Store) -> list[Presence]:
    """All processes that are there, by role and id."""
    records = [await store.get(key) for key in await store.members(ROSTER)]
    return [presence for record in records if record and (presence := _presence(record)) is not None]


def _presence(record: bytes) -> Presence | None:
    """None for what another version wrote, or another program."""
    try:
        return Presence(**json.loads(record))
    except (ValueError, TypeError):
        return None
