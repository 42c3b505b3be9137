"""What routers tell each other through Redis: who waits where, so that operators see one queue per tier."""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from services.common.domain import Role
from services.common.errors import StoreUnavailable
from services.common.limits import DEFAULTS
from services.common.store import Store
from services.router.core.fleet import Pool
from services.router.core.state import State

PREFIX = "pdmesh:queues:"
INTERVAL_S = 1.0
TTL_MS = 5_000
"""A router that has not posted for so long is gone."""

_log = logging.getLogger("pdmesh.router")


@dataclass(frozen=True, slots=True)
class QueueNote:
    """One tier's queue at one router."""

    model: str
    role: Role
    requests: int
    tokens: int
    oldest_wait_ms: float
    """Of those waiting now; 0 while nobody does."""
    wait_ms_max: int
    """Who has waited so long is refused."""


@dataclass(frozen=True, slots=True)
class RouterNote:
    """What one router posts."""

    router_id: str
    open_requests: int
    queues: tuple[QueueNote, ...]


def note_of(state: State, router_id: str, now_ms: float) -> RouterNote:
    """This router's own note."""
    queues = [
        _queue_note(pool, role, state.config.limits.queue_wait_ms_max, now_ms)
        for pool in state.fleet.pools.values()
        for role in (Role.PREFILL, Role.DECODE)
    ]
    return RouterNote(router_id, len(state.flights), tuple(queues))


def _queue_note(pool: Pool, role: Role, wait_ms_max: int, now_ms: float) -> QueueNote:
    queue = pool.prefill_queue if role is Role.PREFILL else pool.decode_queue
    since_ms = min((flight.waiting_since_ms for flight in queue), default=now_ms)
    return QueueNote(pool.model, role, len(queue), queue.tokens, now_ms - since_ms, wait_ms_max)


class Board:
    """Posts this router's note each second and reads those of the others."""

    def __init__(self, store: Store, own: Callable[[], RouterNote]) -> None:
        self._store, self._own = store, own
        self._others: tuple[RouterNote, ...] = ()
        self._is_away = False

    def notes(self) -> Sequence[RouterNote]:
        """Every router's note, this one's first and fresh, the others' about a second old."""
        return (self._own(), *self._others)

    async def run(self) -> None:
        """Until cancelled; then takes the note down. Without the store each router shows itself alone."""
        key = PREFIX + self._own().router_id
        try:
            while True:
                try:
                    await self._exchange(key)
                except StoreUnavailable as error:
                    self._lost(error)
                await asyncio.sleep(INTERVAL_S)
        finally:
            try:
                await self._store.delete(key)
            except StoreUnavailable:
                pass  # its time to live ends it

    async def _exchange(self, key: str) -> None:
        await self._store.set(key, json.dumps(asdict(self._own())).encode(), TTL_MS)
        keys = [other for other in await self._store.keys(PREFIX) if other != key]
        posted = [await self._store.get(other) for other in keys[: DEFAULTS.routers_max]]
        self._others = tuple(note for value in posted if value and (note := _note(value)) is not None)
        if self._is_away:
            self._is_away = False
            _log.warning("the store answers again: queues of other routers are seen")

    def _lost(self, error: StoreUnavailable) -> None:
        self._others = ()
        if not self._is_away:
            self._is_away = True
            _log.error("the store does not answer, queues of other routers are not seen: %s", error.message)


def _note(value: bytes) -> RouterNote | None:
    """A posted note; None for what another version wrote and we cannot read."""
    try:
        found = json.loads(value)
        queues = tuple(QueueNote(**queue | {"role": Role(queue["role"])}) for queue in found["queues"])
        return RouterNote(found["router_id"], found["open_requests"], queues)
    except (ValueError, KeyError, TypeError):
        return None
