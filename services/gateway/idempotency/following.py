"""Reading along with an answer that another gateway writes."""

import asyncio
import logging

import msgspec

from services.common.clock import Clock
from services.common.errors import AnswerLost, AnswerNotKept, StoreUnavailable
from services.common.store.journal import WRITER_TTL_MS, Journal, Page, Progress, Run
from services.gateway.idempotency.held import Held
from services.gateway.idempotency.tape import Head, State

POLL_S = 0.03
TOO_LARGE = "the answer to this idempotency key is too large to be kept and given again; use another key"

_log = logging.getLogger(__name__)


class Following:
    """Copies a run from the journal to a tape, for as long as anybody here reads it."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def follow(self, held: Held, found: Run) -> bool:
        """Copy until the end; False when there is nothing to copy: the writer died, and its name is free.

        Nothing is shown before the writer has given a sign of life. A writer that is lost later breaks the
        tape, so that a part is never taken for the whole.
        """
        if found.progress is Progress.LARGE:
            held.tape.fail(AnswerNotKept(TOO_LARGE))
            return True
        if found.progress is not Progress.WHOLE and not await self._is_alive(held, found):
            return False
        held.tape.copy(found.run)
        held.run = found.run
        try:
            return await self._copy(held)
        except StoreUnavailable as away:
            held.tape.fail(AnswerLost(f"another gateway writes the answer, and {away.message}"))
            return True

    async def _is_alive(self, held: Held, found: Run) -> bool:
        """Wait for the writer's next sign of life, until it must be dead or nobody waits here."""
        until_ms = self._clock.now_ms() + WRITER_TTL_MS * 2
        while self._clock.now_ms() < until_ms and held.tape.readers:
            at_present = await self._journal.look(held.name)
            if at_present is None or at_present.run != found.run:
                return False
            if at_present.beat != found.beat or at_present.progress is not Progress.RUNNING:
                return True
            await asyncio.sleep(POLL_S)
        return False

    async def _copy(self, held: Held) -> bool:
        tape, position = held.tape, ""
        while tape.readers:
            owner = await self._journal.look(held.name)
            page = await self._journal.read(held.name, held.run, position)
            position = page.position
            if _add(held, page):
                return True
            if page.is_last and not page.body:
                if owner is None or owner.run != held.run:
                    return self._lose(held)
                if owner.progress is Progress.LARGE:
                    tape.fail(AnswerNotKept(TOO_LARGE))
                    return True
                if owner.progress is Progress.WHOLE:  # evicted by Redis itself
                    await self._journal.forget(held.name, held.run)
                    return self._lose(held)
            if page.is_last:
                await asyncio.sleep(POLL_S)
        tape.fail(AnswerLost("nobody reads it here"))
        return True

    def _lose(self, held: Held) -> bool:
        """The writer is gone; True when something of its answer has been shown."""
        if held.tape.head is None:
            return False
        held.tape.fail(AnswerLost("the gateway that was writing the answer is gone"))
        return True


def _add(held: Held, page: Page) -> bool:
    """Put a page on the tape; True at the end."""
    tape = held.tape
    if page.head:
        tape.begin(msgspec.json.decode(page.head, type=Head))
    if page.progress is Progress.RUNNING:
        if page.body:
            tape.append(page.body)
        return False
    if page.progress is Progress.BROKEN:
        tape.append(page.body)
        tape.fail(AnswerLost("the answer was given up"))
    else:
        tape.end(page.body, State.WHOLE if page.progress is Progress.WHOLE else State.SPENT)
    return True
