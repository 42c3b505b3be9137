"""What routers tell each other through Redis: who waits where, and who of them scales the fleet."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from services.common.background import keep_running
from services.common.clock import Clock, until_beat_s
from services.common.errors import StoreUnavailable
from services.common.limits import DEFAULTS
from services.common.store import Store
from services.router.core.events import RoutersSeen
from services.router.lease import Lease
from services.router.notes import RouterNote

ROSTER = "pdmesh:routers"
"""Names of the routers that post, so that none has to look through all that others keep in the store."""
PREFIX = "pdmesh:queues:"
INTERVAL_S = 0.5
TTL_MS = 5_000
"""A router that has not posted for so long is gone from the picture."""
ALIVE_MS = 1_250.0
"""One that has posted nothing new for so long is none whose work counts for scaling."""
PATIENCE_MS = 3_000.0
"""A router that has just started leaves scaling to others, who know more."""

_log = logging.getLogger("pdmesh.router")


class Board:
    """Posts this router's note twice a second, reads those of the others, and keeps or seeks the lease."""

    def __init__(
        self,
        store: Store,
        own: Callable[[], RouterNote],
        lease: Lease,
        clock: Clock,
        on_seen: Callable[[RoutersSeen], None] = lambda _: None,
    ) -> None:
        self._store, self._own, self._lease, self._clock, self._on_seen = store, own, lease, clock, on_seen
        self._others: tuple[RouterNote, ...] = ()
        self._news: dict[str, tuple[int, float]] = {}
        """The number of each router's newest note, and when it came."""
        self._exchanges = 0
        self._born_ms = clock.now_ms()
        self._seen = RoutersSeen()
        self._is_alone = self._is_away = False

    @property
    def is_away(self) -> bool:
        """Whether the store does not answer at the moment."""
        return self._is_away

    def notes(self) -> Sequence[RouterNote]:
        """Every router's note, this one's first and fresh, the others' about half a second old."""
        return (self._own(), *self._others)

    async def run(self) -> None:
        """Until cancelled; then takes the note down. Without the store each router shows itself alone."""
        self._tell(self._seen)
        try:
            await keep_running("notes of routers", self._exchange_often)
        finally:
            with contextlib.suppress(StoreUnavailable):  # its time to live ends it
                await self._store.leave(ROSTER, self._own().router_id)
                await self._store.delete(PREFIX + self._own().router_id)

    async def _exchange_often(self) -> None:
        while True:
            await self.exchange()
            await asyncio.sleep(until_beat_s(INTERVAL_S))

    async def exchange(self) -> None:
        """Once; a store that is away is tried again the next time."""
        try:
            await self._exchange()
        except StoreUnavailable as error:
            self._lost(error)

    async def leave(self) -> None:
        """Have another router scale the fleet from here on."""
        self._tell(replace(self._seen, decider="", decides_until_ms=float("-inf")))
        await self._lease.give_up()

    async def _exchange(self) -> None:
        self._exchanges += 1
        note = replace(self._own(), number=self._exchanges)
        is_ours = self._lease.is_held
        decider = await self._lease.renew(may_claim=False) if is_ours else ""  # first: it ends soon
        await self._store.set(PREFIX + note.router_id, note.to_bytes(), TTL_MS)
        self._others = await self._read(await self._store.enter(ROSTER, note.router_id, TTL_MS))
        alive = self._alive()
        self._is_alone = not self._others
        has_lived = self._clock.now_ms() - self._born_ms >= PATIENCE_MS
        if not is_ours:
            decider = await self._lease.renew(may_claim=has_lived or not alive)
        reports = tuple(note.scaling for note in alive if note.scaling is not None)
        self._tell(RoutersSeen(reports, decider, self._lease.until_ms))
        if self._is_away:
            self._is_away = False
            _log.warning("the store answers again: queues of other routers are seen")

    async def _read(self, routers: Sequence[str]) -> tuple[RouterNote, ...]:
        others = [name for name in routers if name != self._own().router_id]
        posted = [await self._store.get(PREFIX + name) for name in others[: DEFAULTS.routers_max]]
        return tuple(note for value in posted if value and (note := RouterNote.from_bytes(value)))

    def _alive(self) -> list[RouterNote]:
        """Those that have lately posted something new."""
        now_ms, before = self._clock.now_ms(), self._news
        self._news = {}
        for note in self._others:
            known = before.get(note.router_id)
            is_new = known is None or known[0] != note.number
            self._news[note.router_id] = (note.number, now_ms) if is_new or known is None else known
        return [note for note in self._others if now_ms - self._news[note.router_id][1] < ALIVE_MS]

    def _tell(self, seen: RoutersSeen) -> None:
        self._seen = seen
        self._on_seen(seen)

    def _lost(self, error: StoreUnavailable) -> None:
        """A router that was alone scales on alone; where there were others nobody knows what they have."""
        self._others = ()
        self._lease.store_was_away()
        if self._is_alone:
            self._tell(RoutersSeen(decides_until_ms=float("inf")))
        if not self._is_away:
            self._is_away = True
            _log.error("the store does not answer, other routers are not seen: %s", error.message)
