"""The two ways of writing an answer: as a stream of events, or whole at the end."""

from dataclasses import dataclass
from typing import Any, Protocol

from services.common.clock import Clock
from services.common.errors import MeshError, SlowReader
from services.common.limits import Limits
from services.gateway.http import Exchange, HttpResponse
from services.gateway.http.message import Header
from services.gateway.metrics import Metrics
from services.gateway.openai.errors import error_event, error_response
from services.gateway.openai.format import EVENT_STREAM, AnswerFormat, Usage
from services.gateway.streams import Placement


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ends."""

    finish_reason: str
    usage: Usage
    extra: dict[str, Any]
    """Fields beside OpenAI's own."""


class Writer(Protocol):
    """Where an answer's text goes."""

    @property
    def notes(self) -> dict[str, object]:
        """What the request's log line is to say."""

    def on_placed(self, placement: Placement) -> None:
        """Take what the head tells of the placement."""

    def write(self, text: str) -> None:
        """Write some text."""

    def finish(self, ending: Ending) -> None:
        """Write the end."""

    def fail(self, error: MeshError) -> None:
        """Write that there is no whole answer."""


class _Head:
    """What both writers put in front: how long it took, and where it ran."""

    __slots__ = ("_clock", "_exchange", "_placement")

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock
        self._placement: Placement | None = None

    @property
    def notes(self) -> dict[str, object]:
        """What the request's log line is to say."""
        return self._exchange.notes

    def on_placed(self, placement: Placement) -> None:
        """Take what the head tells of the placement."""
        self._placement = placement

    def _headers(self) -> tuple[Header, ...]:
        took_ms = self._clock.now_ms() - self._exchange.request.received_ms
        return (("openai-processing-ms", f"{took_ms:.0f}"), *_placement_headers(self._placement))

    def _refuse(self, error: MeshError) -> None:
        self._exchange.notes["error"] = error.reason
        self._exchange.respond(error_response(error))


def _placement_headers(placement: Placement | None) -> tuple[Header, ...]:
    if placement is None:
        return ()
    return (
        ("x-pdmesh-path", placement.path.name.lower()),
        ("x-pdmesh-path-reason", placement.reason),
        ("x-pdmesh-prefill-worker", placement.prefill_worker),
        ("x-pdmesh-decode-worker", placement.decode_worker),
    )


class WholeWriter(_Head):
    """Collects the text and answers once."""

    __slots__ = ("_format", "_parts")

    def __init__(self, exchange: Exchange, answer_format: AnswerFormat, clock: Clock) -> None:
        super().__init__(exchange, clock)
        self._format = answer_format
        self._parts: list[str] = []

    def write(self, text: str) -> None:
        """Keep some text; its length is bounded by the request's max_tokens."""
        self._parts.append(text)

    def finish(self, ending: Ending) -> None:
        """Answer."""
        body = self._format.body("".join(self._parts), ending.finish_reason, ending.usage, ending.extra)
        self._exchange.notes["finish_reason"] = ending.finish_reason
        self._exchange.respond(HttpResponse(200, body, headers=self._headers()))

    def fail(self, error: MeshError) -> None:
        """Answer with the error."""
        self._refuse(error)


class StreamedWriter(_Head):
    """Writes an event for each piece of text; the head goes out with the first.

    While the client is behind, its text waits here, as text, and goes out as one event when the client
    has caught up. A client whose text outgrows its bound is cut off.
    """

    __slots__ = ("_format", "_has_usage", "_limits", "_metrics", "_waiting", "_waiting_bytes")

    def __init__(
        self,
        exchange: Exchange,
        answer_format: AnswerFormat,
        clock: Clock,
        limits: Limits,
        metrics: Metrics,
        *,
        has_usage: bool,
    ) -> None:
        super().__init__(exchange, clock)
        self._format = answer_format
        self._limits = limits
        self._metrics = metrics
        self._has_usage = has_usage
        self._waiting: list[str] = []
        self._waiting_bytes = 0
        exchange.on_writable = self._catch_up

    def write(self, text: str) -> None:
        """Write an event, or keep the text while the client is behind."""
        exchange = self._exchange
        if exchange.is_behind:
            self._keep(text)
        elif exchange.is_started:
            exchange.write(self._format.delta(text))
        else:
            self._start()
            exchange.write(self._format.opening() + self._format.delta(text))

    def finish(self, ending: Ending) -> None:
        """Write the closing events, with whatever waited before them."""
        data = b"" if self._exchange.is_started else self._format.opening()
        if not self._exchange.is_started:
            self._start()
        usage = ending.usage if self._has_usage else None
        data += self._take_waiting() + self._format.closing(ending.finish_reason, usage, ending.extra)
        self._exchange.notes["finish_reason"] = ending.finish_reason
        self._exchange.finish(data)

    def fail(self, error: MeshError) -> None:
        """Answer with the error, or end the stream with one; without `[DONE]`, for it is not whole."""
        if self._exchange.is_started:
            self._exchange.notes["error"] = error.reason
            self._exchange.finish(self._take_waiting() + error_event(error))
        else:
            self._refuse(error)

    def _start(self) -> None:
        headers = (("cache-control", "no-cache"), ("x-accel-buffering", "no"), *self._headers())
        self._exchange.start(200, EVENT_STREAM, headers)

    def _keep(self, text: str) -> None:
        self._waiting.append(text)
        self._waiting_bytes += len(text.encode("utf-8"))
        if self._waiting_bytes > self._limits.client_buffer_bytes_max:
            self._take_waiting()
            self._metrics.slow_readers.inc()
            self._exchange.drop(SlowReader("the client does not read its answer"))

    def _catch_up(self) -> None:
        if self._waiting:
            self._exchange.write(self._take_waiting())

    def _take_waiting(self) -> bytes:
        if not self._waiting:
            return b""
        text = "".join(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        return self._format.delta(text)
