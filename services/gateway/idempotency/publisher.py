"""Tells other gateways of the answers that this one writes."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from services.common.clock import Clock
from services.common.errors import StoreUnavailable
from services.common.store.journal import ENTRIES_MAX, Addition, Journal, Progress, Standing
from services.gateway.idempotency.held import Held
from services.gateway.idempotency.outage import Outage
from services.gateway.idempotency.tape import State

BATCH_S = 0.02
"""What is written within this time goes out together, for all answers in one round trip."""
BEAT_S = 0.5
"""How often a run says what is new while nobody reads it elsewhere, and that its writer lives."""
PART_BYTES_MAX = 256 * 1024
"""Of one answer in one round."""
FAREWELL_S = 1.0
"""For the last round, when the process ends."""

_log = logging.getLogger(__name__)


class Publisher:
    """Adds to the journal what is new on the tapes of shared answers; `run` does so until cancelled.

    A run whose name another gateway has taken over is told of no more. While the journal is away, tapes go
    on, and what is missing is added later, unless the name was lost meanwhile.
    """

    def __init__(self, journal: Journal, outage: Outage, clock: Clock) -> None:
        self.on_lost: Callable[[Held], None] = lambda _: None
        """Told of an answer whose name another gateway has taken over."""
        self._journal = journal
        self._outage = outage
        self._clock = clock
        self._shared: dict[str, Held] = {}
        self._new: set[str] = set()
        self._dropped: list[Held] = []
        self._wake = asyncio.Event()

    def share(self, held: Held) -> None:
        """Take over an answer whose name was claimed for this gateway."""
        held.is_shared = True
        self._shared[held.name] = held
        self._wake.set()

    def touch(self, held: Held) -> None:
        """There is something new. While it runs and nobody waits for it, that can wait for the next beat."""
        if self._shared.get(held.name) is held:
            if held.is_watched or not held.tape.is_running:
                self._new.add(held.name)
                self._wake.set()
        elif held.tape.state in (State.SPENT, State.BROKEN):  # the journal keeps its name as too large
            self.drop(held)

    def drop(self, held: Held) -> None:
        """Take a finished answer out of the journal before its time."""
        if held.is_shared:
            self._dropped.append(held)
            self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        beat_ms = self._clock.now_ms()
        while True:
            try:
                async with asyncio.timeout(BEAT_S if self._shared else None):
                    await self._wake.wait()
            except TimeoutError:
                pass  # nothing new, and time to say so
            await asyncio.sleep(BATCH_S)
            if self._clock.now_ms() - beat_ms >= BEAT_S * 1000.0:
                beat_ms = self._clock.now_ms()
                self._new.update(self._shared)
            self._wake.clear()
            await self._round()

    async def bid_farewell(self) -> None:
        """Say of what is still running that it is given up."""
        self._new.update(self._shared)  # a round may have been cut short
        try:
            async with asyncio.timeout(FAREWELL_S):
                while self._new and not self._outage.is_on:
                    await self._round()
        except TimeoutError:
            _log.warning("the journal did not take the last word on %d answers", len(self._shared))

    async def _round(self) -> None:
        named, self._new = self._new, set()
        batch = [self._shared[name] for name in named if name in self._shared]
        try:
            await self._publish(batch)
            await self._forget_dropped()
        except StoreUnavailable as away:
            self._outage.begin(away)
            self._dropped.clear()  # their time to live ends them
            self._new |= named
            await asyncio.sleep(BEAT_S)
        else:
            self._outage.end()

    async def _publish(self, batch: list[Held]) -> None:
        if not batch:
            return
        additions = [_addition(held) for held in batch]
        standings = await self._journal.publish(additions)
        for held, addition, standing in zip(batch, additions, standings, strict=True):
            self._note(held, addition, standing)

    async def _forget_dropped(self) -> None:
        while self._dropped:
            held = self._dropped.pop()
            await self._journal.forget(held.name, held.run)

    def _note(self, held: Held, addition: Addition, standing: Standing) -> None:
        """What follows from the journal's answer."""
        held.is_watched = standing.is_watched
        held.published_entries += 1
        if held.published_entries >= ENTRIES_MAX - 1:
            held.tape.discard()
        is_added = standing.size_bytes == addition.offset_bytes + len(addition.body)
        held.is_head_published = held.is_head_published or (is_added and bool(addition.head))
        held.published_bytes = standing.size_bytes
        is_last = addition.progress is Progress.LARGE or (
            is_added and addition.progress is not Progress.RUNNING
        )
        if not standing.is_mine or is_last:
            held.is_shared = standing.is_mine
            self._shared.pop(held.name, None)
        elif not held.tape.is_running or held.published_bytes < held.tape.size_bytes:
            self.touch(held)
        if standing.is_others:
            self.on_lost(held)


def _addition(held: Held) -> Addition:
    """What the journal does not have yet, at most a round's share."""
    tape = held.tape
    if not tape.is_kept:
        return Addition(held.name, held.run, b"", b"", Progress.LARGE)
    head = b"" if held.is_head_published or tape.head is None else msgspec.json.encode(tape.head)
    body = tape.read(held.published_bytes, PART_BYTES_MAX)
    is_all = held.published_bytes + len(body) == tape.size_bytes
    progress = _PROGRESS[tape.state] if is_all else Progress.RUNNING
    return Addition(held.name, held.run, head, body, progress, held.published_bytes)


_PROGRESS = {
    State.RUNNING: Progress.RUNNING,
    State.WHOLE: Progress.WHOLE,
    State.SPENT: Progress.SPENT,
    State.BROKEN: Progress.BROKEN,
}
