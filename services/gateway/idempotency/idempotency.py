"""A retry with the same idempotency key gets the answer of the first request, finished or running."""

import asyncio
import logging
import uuid
from collections.abc import Coroutine
from functools import partial
from typing import Any

from services.common.background import keep_running
from services.common.clock import Clock, until_beat_s
from services.common.errors import (
    AnswerLost,
    AnswerNotKept,
    Cancelled,
    IdempotencyKeyReused,
    IdempotencyUnavailable,
    Internal,
    MeshError,
    StoreUnavailable,
)
from services.common.limits import Limits
from services.common.store.journal import Journal
from services.common.telemetry.tallies import Counter
from services.gateway.http import Exchange
from services.gateway.http.routes import Handler
from services.gateway.idempotency.following import TOO_LARGE, Following
from services.gateway.idempotency.held import Held
from services.gateway.idempotency.key import IDEMPOTENCY_KEY, digest_of, key_of, name_of
from services.gateway.idempotency.outage import RETRY_MS, Outage
from services.gateway.idempotency.publisher import Publisher
from services.gateway.idempotency.reader import ErrorResponse, Reader, gone
from services.gateway.idempotency.recording import Recording
from services.gateway.idempotency.shelf import Shelf
from services.gateway.idempotency.tape import State, Tape

CLAIMS_MAX = 4
LEFT = "its first caller left before it began; ask again"
"""How often a request tries to take over from writers that die one after another."""
TICK_S = 0.25
"""How often it is looked for answers that nobody reads."""

_log = logging.getLogger(__name__)


class Idempotency:
    """Keeps the answers to requests with a key. Without a journal, for this gateway alone.

    A request with a key runs on for `linger_ms` after its last reader has left, so that a retry finds it.
    `fails_open` says what happens while the journal is away: requests run, known to this gateway only, or
    are refused.
    """

    def __init__(
        self,
        error_response: ErrorResponse,
        limits: Limits,
        clock: Clock,
        requests: Counter,
        *,
        header: str = IDEMPOTENCY_KEY,
        journal: Journal | None = None,
        linger_ms: float = 10_000.0,
        fails_open: bool = True,
    ) -> None:
        self._error_response = error_response
        self._requests = requests
        self._header = header
        self._limits = limits
        self._clock = clock
        self._journal = journal
        self._linger_ms = linger_ms
        self._fails_open = fails_open
        self._outage = Outage(clock)
        self._shelf = Shelf(limits, clock)
        self._publisher: Publisher | None = None
        if journal is not None:
            self._publisher = Publisher(journal, self._outage, clock)
            self._publisher.on_lost = self._shelf.remove
            self._shelf.on_dropped = self._publisher.drop

    @property
    def held_bytes(self) -> int:
        """What the answers kept here take of memory."""
        return self._shelf.held_bytes

    def answer(self, exchange: Exchange, tenant: str, handler: Handler) -> Coroutine[Any, Any, None] | None:
        """Answer a request: where it has a key, from what is kept for it, and else by `handler`.

        Raises `IdempotencyKeyReused` for a key that came with another body, `AnswerNotKept`, and whatever
        the handler raises for a request without a key.
        """
        key = key_of(exchange.request.headers, self._header, self._limits.idempotency_key_chars_max)
        return self._begin(exchange, tenant, key, handler) if key else handler(exchange)

    def _begin(
        self, exchange: Exchange, tenant: str, key: str, handler: Handler
    ) -> Coroutine[Any, Any, None] | None:
        name, digest = name_of(tenant, key), digest_of(exchange.request)
        held = self._shelf.find(name)
        if held is not None:
            self._join(exchange, held, digest)
            return None
        tape = Tape(self._limits.idempotency_answer_bytes_max)
        held = Held(name, digest, uuid.uuid4().hex[:16], tape, tenant)
        held.tape.on_change = partial(self._changed, held)
        self._shelf.add(held)
        self._open_reader(exchange, held, is_replay=False)
        if self._journal is None or self._publisher is None:
            return self._produce(held, exchange, handler)
        return self._claim(self._journal, self._publisher, held, exchange, handler)

    async def run(self) -> None:
        """End what nobody reads, and tell other gateways of the rest; until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(keep_running("kept answers", self._tick))
                if self._publisher is not None:
                    tasks.create_task(keep_running("shared answers", self._publisher.run))
        finally:
            for held in self._shelf.running:
                self._give_up(held, "the gateway is leaving")
            if self._publisher is not None:
                await self._publisher.bid_farewell()

    async def close(self) -> None:
        """Let go of the journal."""
        if self._journal is not None:
            await self._journal.close()

    # A key that is known.

    def _join(self, exchange: Exchange, held: Held, digest: str) -> None:
        if held.digest != digest:
            raise _reused()
        if not held.tape.is_kept:
            raise AnswerNotKept(TOO_LARGE)
        exchange.request.release()
        self._note(exchange, "joined" if held.tape.is_running else "replayed")
        self._open_reader(exchange, held, is_replay=True).advance()

    def _open_reader(self, exchange: Exchange, held: Held, *, is_replay: bool) -> Reader:
        return Reader(
            exchange,
            held.tape,
            self._error_response,
            is_replay=is_replay,
            last_event_id=exchange.request.headers.get("last-event-id", ""),
            lag_bytes_max=self._limits.client_buffer_bytes_max,
        )

    # A key that is new here.

    async def _claim(
        self, journal: Journal, publisher: Publisher, held: Held, exchange: Exchange, handler: Handler
    ) -> None:
        """Take the name, or follow whoever has it; take over from one that died."""
        try:
            for _ in range(CLAIMS_MAX):
                self._outage.check()
                found = await journal.claim(held.name, held.digest, held.run)
                self._outage.end()
                if found is None:
                    publisher.share(held)
                    break
                if found.digest != held.digest:
                    raise _reused()
                if await Following(journal, self._clock).follow(held, found):
                    self._note(exchange, "followed")
                    return
        except StoreUnavailable as away:
            self._outage.begin(away)
            if not self._fails_open:
                held.tape.fail(IdempotencyUnavailable(away.message, retry_after_ms=int(RETRY_MS)))
                return
        except MeshError as refusal:
            held.tape.fail(refusal)
            return
        except BaseException as error:  # a call that is cancelled takes this with it, and others may wait
            is_fault = isinstance(error, Exception)
            held.tape.fail(Internal("internal error") if is_fault else AnswerLost(LEFT))
            raise
        later = self._produce(held, exchange, handler)
        if later is not None:
            await later

    def _produce(self, held: Held, exchange: Exchange, handler: Handler) -> Coroutine[Any, Any, None] | None:
        """Have the handler answer, onto the tape."""
        if exchange.request.headers.get("last-event-id"):
            held.tape.fail(gone())
            return None
        if not held.tape.readers:
            held.tape.fail(Cancelled("the client closed the connection"))
            return None
        is_alone = self._journal is not None and not held.is_shared
        self._note(exchange, "alone" if is_alone else "ran")
        held.tape.run = held.run
        held.recording = recording = Recording(exchange, held.tape, held.run)
        try:
            later = handler(recording)
        except Exception as error:  # becomes the answer, as it would without a key
            _refuse(recording, error)
            return None
        return None if later is None else _finish(recording, later)

    def _note(self, exchange: Exchange, how: str) -> None:
        exchange.notes["idempotency"] = how
        self._requests.labels(how).inc()

    # What becomes of an answer.

    def _changed(self, held: Held) -> None:
        tape = held.tape
        if self._publisher is not None and held.recording is not None:
            self._publisher.touch(held)
        if tape.is_running:
            return
        if tape.state is State.WHOLE and not tape.is_copy:
            if not tape.is_kept:
                tape.discard()
            self._shelf.keep(held)
        else:
            self._shelf.remove(held)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(until_beat_s(TICK_S))
            self._shelf.make_room()
            for held in self._shelf.running:
                self._end_if_unread(held)

    def _end_if_unread(self, held: Held) -> None:
        now_ms = self._clock.now_ms()
        if held.tape.readers or held.is_watched or held.recording is None:
            held.unread_since_ms = None
        elif held.unread_since_ms is None:
            held.unread_since_ms = now_ms
        elif now_ms - held.unread_since_ms > self._linger_ms:
            self._give_up(held, "nobody came back for the answer")

    def _give_up(self, held: Held, why: str) -> None:
        if held.recording is not None:
            held.recording.lose(Cancelled(why))


def _reused() -> IdempotencyKeyReused:
    return IdempotencyKeyReused("this idempotency key was used with another body", field="idempotency-key")


def _refuse(recording: Recording, error: Exception) -> None:
    if not isinstance(error, MeshError):
        _log.error("%s %s failed", recording.request.method, recording.request.path, exc_info=error)
        error = Internal("internal error")
    recording.lose(error)


async def _finish(recording: Recording, later: Coroutine[Any, Any, None]) -> None:
    try:
        await later
    except Exception as error:  # as above
        _refuse(recording, error)
    except BaseException:
        recording.lose(AnswerLost(LEFT))
        raise
