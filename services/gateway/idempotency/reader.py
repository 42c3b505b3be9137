"""One client's way through an answer, live or again."""

from collections.abc import Callable

from services.common.errors import AnswerNotKept, MeshError, SlowReader
from services.gateway.http import Exchange, HttpResponse
from services.gateway.idempotency import events
from services.gateway.idempotency.tape import Head, Tape

SLICE_BYTES = 64 * 1024
"""What is written at once, before looking whether the client keeps up."""
REPLAYED = ("idempotent-replayed", "true")

ErrorResponse = Callable[[MeshError], HttpResponse]


def gone() -> AnswerNotKept:
    """What a client hears that wants to go on where there is nothing to go on with."""
    return AnswerNotKept(
        "last-event-id: the answer with this event is gone; ask again without it, from the start",
        field="last-event-id",
    )


class Reader:
    """Writes a tape to an exchange, from the start or from after `last_event_id` (a `Follower`)."""

    __slots__ = (
        "_error_response",
        "_exchange",
        "_is_replay",
        "_lag_bytes_max",
        "_last_event_id",
        "_tape",
        "position",
    )

    def __init__(
        self,
        exchange: Exchange,
        tape: Tape,
        error_response: ErrorResponse,
        *,
        is_replay: bool,
        last_event_id: str,
        lag_bytes_max: int,
    ) -> None:
        self.position = 0
        self._exchange = exchange
        self._tape = tape
        self._error_response = error_response
        self._is_replay = is_replay
        self._last_event_id = last_event_id
        self._lag_bytes_max = lag_bytes_max
        exchange.on_gone = self._on_gone
        exchange.on_writable = self.advance
        tape.join(self)

    def advance(self) -> None:
        """Write what is new, as far as the client keeps up."""
        exchange, tape = self._exchange, self._tape
        if not exchange.is_open:
            return
        if tape.error is not None:
            self._break_off(tape.error)
        elif tape.run and self._find_start() and tape.head is not None:
            if not tape.head.is_stream:
                self._respond(tape.head)
            elif not exchange.is_behind:
                self._write(tape.head)
            elif self._is_too_far_behind():
                self._break_off(SlowReader("the client does not read its answer"))

    def _find_start(self) -> bool:
        """Whether it is known where to begin."""
        if not self._last_event_id:
            return True
        if events.run_of(self._last_event_id) != self._tape.run:
            self._break_off(gone())
            return False
        start = events.after(self._tape, self._last_event_id)
        if start >= 0:
            self.position = start
            self._last_event_id = ""
        elif not (self._tape.is_running and self._tape.is_kept):
            self._break_off(gone())
        return start >= 0

    def _respond(self, head: Head) -> None:
        if not self._tape.is_running:
            body = self._tape.read(0)
            self._leave()
            self._exchange.respond(HttpResponse(head.status, body, head.content_type, self._headers(head)))

    def _write(self, head: Head) -> None:
        exchange, tape = self._exchange, self._tape
        if not exchange.is_started:
            exchange.start(head.status, head.content_type, self._headers(head))
        while tape.size_bytes - self.position > SLICE_BYTES and not exchange.is_behind:
            self._write_slice()
        if exchange.is_behind or not exchange.is_open:
            return
        rest = tape.read(self.position)
        self.position += len(rest)
        if tape.is_running:
            exchange.write(rest)
        else:
            self._leave()
            exchange.finish(rest)

    def _write_slice(self) -> None:
        data = self._tape.read(self.position, SLICE_BYTES)
        self.position += len(data)
        self._exchange.write(data)

    def _is_too_far_behind(self) -> bool:
        """What is kept anyway may wait for any reader; beyond that each has its bound."""
        lag_bytes = self._tape.size_bytes - self.position
        return not self._tape.is_kept and lag_bytes > self._lag_bytes_max

    def _headers(self, head: Head) -> tuple[tuple[str, str], ...]:
        is_replay = self._is_replay or self._tape.is_copy
        return (*head.headers, REPLAYED) if is_replay else head.headers

    def _break_off(self, error: MeshError) -> None:
        self._leave()
        self._exchange.notes["error"] = error
        if self._exchange.is_started:
            self._exchange.drop(error)
        else:
            self._exchange.respond((self._exchange.error_response or self._error_response)(error))

    def _on_gone(self, _: MeshError) -> None:
        self._leave()

    def _leave(self) -> None:
        self._tape.leave(self)
        if not self._is_replay:
            self._exchange.notes |= {**self._tape.notes, **self._exchange.notes}
