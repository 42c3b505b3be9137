"""Answering as it comes, in server-sent events."""

from services.common.clock import Clock
from services.common.errors import MeshError, SlowReader
from services.common.limits import Limits
from services.gateway.call.call import Call
from services.gateway.call.writers.interface import Ending
from services.gateway.call.writers.piece import Piece, join
from services.gateway.http import Exchange, Template
from services.gateway.rest.openai.format import EVENT_STREAM, FormatType, WholeChoice
from services.gateway.rest.writers.rest import RestWriter


class StreamedWriter(RestWriter):
    """Writes an event for each piece; the head goes out with the first.

    While the client is behind, its pieces wait here, and go out as one event for each choice when the client
    has caught up. A client whose pieces outgrow their bound is cut off. A choice's end waits for the next
    write, so that the last one and the answer's end are one write.
    """

    __slots__ = ("_ends", "_limits", "_waiting", "_waiting_bytes")

    def __init__(
        self,
        exchange: Exchange,
        call: Call,
        format_type: FormatType,
        clock: Clock,
        limits: Limits,
    ) -> None:
        super().__init__(exchange, call, format_type, clock)
        self._limits = limits
        self._waiting: dict[int, list[Piece]] = {}
        self._waiting_bytes = 0
        self._ends: list[WholeChoice] = []
        exchange.on_writable = self._catch_up

    def write(self, choice: int, piece: Piece) -> None:
        """Write an event, or keep the piece while the client is behind."""
        exchange = self._exchange
        if exchange.is_behind:
            self._keep(choice, piece)
        elif exchange.is_started and not self._ends:
            exchange.write(self._format.delta(choice, piece))
        else:
            exchange.write(self._begun() + self._take_waiting() + self._format.delta(choice, piece))

    def template(self, choice: int) -> Template | None:
        """What writes the choice's events, if it is the only one and the client keeps up."""
        generation, exchange = self._call.generation, self._exchange
        if generation.n * len(generation.prompts) != 1 or self._waiting or not exchange.is_started:
            return None
        around = self._format.around(choice)
        return None if around is None else exchange.template(*around)

    def end_choice(self, choice: int, finish_reason: str, stop_reason: int | str | None = None) -> None:
        """Keep the end for the next write."""
        self._ends.append(WholeChoice(choice, Piece(), finish_reason, stop_reason))

    def finish(self, ending: Ending) -> None:
        """Write the closing events, with whatever waited before them."""
        last = self._ends.pop()
        data = self._begun(ending) + self._take_waiting()
        self._exchange.finish(data + self._format.closing(last, ending))

    def fail(self, error: MeshError) -> None:
        """Answer with the error, or end the stream with one."""
        if self._exchange.is_started:
            self._exchange.notes["error"] = error
            self._exchange.finish(self._take_waiting() + self._format.failed(error))
        else:
            super().fail(error)

    def _begun(self, ending: Ending | None = None) -> bytes:
        """The events that come first, where nothing has been written; sends the head."""
        if self._exchange.is_started:
            return b""
        own = (("cache-control", "no-cache"), ("x-accel-buffering", "no"))
        self._exchange.start(200, EVENT_STREAM, (*own, *self._headers(ending)))
        return self._format.opening()

    def _keep(self, choice: int, piece: Piece) -> None:
        self._waiting.setdefault(choice, []).append(piece)
        self._waiting_bytes += piece.size_bytes()
        if self._waiting_bytes > self._limits.client_buffer_bytes_max:
            self._waiting.clear()
            self._exchange.drop(SlowReader("the client does not read its answer"))

    def _catch_up(self) -> None:
        if self._waiting:
            self._exchange.write(self._take_waiting())

    def _take_waiting(self) -> bytes:
        """What waits, and the ends of choices after it."""
        if not (self._waiting or self._ends):
            return b""
        events = [self._format.delta(choice, join(pieces)) for choice, pieces in self._waiting.items()]
        events += [self._format.end(end) for end in self._ends]
        self._waiting.clear()
        self._waiting_bytes = 0
        self._ends.clear()
        return b"".join(events)
