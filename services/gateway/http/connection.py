"""One HTTP connection: requests in order, one answer at a time, and clients that are slow or gone."""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol, cast

from services.common.clock import Clock
from services.common.descriptors import is_reserved
from services.common.errors import Cancelled, MeshError, RequestTooSlow, SlowReader, TooManyConnections
from services.common.limits import Limits
from services.gateway.http.admission import Admit
from services.gateway.http.exchange import Exchange
from services.gateway.http.message import HttpRequest, HttpResponse, encode_head
from services.gateway.http.parser import RequestParser
from services.gateway.http.stall import Stall
from services.gateway.shared_room import SharedRoom

WRITE_BUFFER_BYTES = 64 * 1024
"""What a transport holds for a client before it says that the client is behind."""
LINGER_MS = 3_000
"""After a refusal, how long the rest of the request is thrown away so that the client can read its answer."""


class Owner(Protocol):
    """What a connection needs of its server."""

    limits: Limits
    clock: Clock
    room: SharedRoom
    admit: Admit
    date: str
    is_draining: bool

    def opened(self, connection: "Connection") -> bool:
        """Register a connection; False when there are too many."""

    def closed(self, connection: "Connection") -> None:
        """Forget a connection."""

    def handle(self, exchange: Exchange) -> None:
        """Have an exchange answered, now or later; does not raise."""

    def error_response(self, error: MeshError) -> HttpResponse:
        """An error in the API's own words."""


class Phase(Enum):
    """What a connection waits for."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    LINGER = auto()


def _nowhere(_: bytes) -> None:
    """What `send` does before there is a transport."""


class Connection(asyncio.Protocol):
    """One client's connection.

    Pipelined requests wait their turn here. Once `pipelined_requests_max` of them wait, or their bodies
    hold as much as one body may, the connection stops reading until they are answered. The server calls
    `check_time` about once a second, so that a connection needs no timer of its own.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._limits = owner.limits
        self._clock = owner.clock
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._stall: Stall = cast(Stall, None)
        self._parser = RequestParser(
            owner.limits, owner.clock, owner.room, owner.admit, self._take, self._let_continue
        )
        self._backlog: deque[HttpRequest] = deque()
        self._exchange: Exchange | None = None
        self._refusal: MeshError | None = None
        self._is_serving = False
        self._is_reading = True
        self._phase = Phase.IDLE
        self._phase_since_ms = owner.clock.now_ms()
        self._paused_since_ms = 0.0
        self._closing_since_ms: float | None = None
        self.is_paused = False
        self.is_in_reserve = False
        """Whether its descriptor is one of those that the process keeps for itself."""
        self.send: Callable[[bytes], None] = _nowhere
        """Writes bytes to the client: the transport's own method, for it is called once per token."""

    @property
    def date(self) -> str:
        """The date header's value."""
        return self._owner.date

    @property
    def is_draining(self) -> bool:
        """Whether the server takes no more requests."""
        return self._owner.is_draining

    # The transport's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; turn it away when there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        self._stall = Stall(transport)
        self.send = self._transport.write
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self.is_in_reserve = is_reserved(transport)
        if not self._owner.opened(self):
            self._refuse(
                TooManyConnections("this gateway's connections are at their bound", retry_after_ms=1000)
            )
            if self.is_in_reserve:
                self._transport.close()  # to linger would take what is kept for the process itself

    def data_received(self, data: bytes) -> None:
        """Parse; what follows a refusal is thrown away."""
        if self._refusal is not None:
            return
        if self._phase is Phase.IDLE:
            self._enter(Phase.HEAD)
        try:
            self._parser.feed(data)
        except MeshError as refusal:
            self._refusal = refusal
            self._serve_next()
            return
        self._note_phase()
        if self._is_backlog_full():
            self._transport.pause_reading()
            self._is_reading = False

    def eof_received(self) -> bool:
        """A client that stops sending is taken for gone: closing and half-closing look the same."""
        return False

    def connection_lost(self, _: Exception | None) -> None:
        """Tell whoever is answering; forget everything."""
        self._owner.closed(self)
        self._parser.close()
        self._drop_backlog()
        self._lose(Cancelled("the client closed the connection"))

    def pause_writing(self) -> None:
        """The client is behind."""
        self.is_paused = True
        if self._exchange is not None:
            self._exchange.is_behind = True
        self._paused_since_ms = self._clock.now_ms()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.is_paused = False
        if self._exchange is not None:
            self._exchange.is_behind = False
            self._exchange.on_writable()
        else:
            self._serve_next()

    # What an exchange calls.

    def exchange_ended(self, *, closes: bool) -> None:
        """Go on with the next request, or close once everything is sent."""
        self._exchange = None
        if closes:
            self._drop_backlog()
            if self._refusal is None:
                self._close()
            else:
                self._linger()
            return
        self._note_phase()
        self._serve_next()

    def abort(self) -> None:
        """Cut the connection at once."""
        self._transport.abort()

    # What the server calls.

    def check_time(self, now_ms: float) -> None:
        """Act on whatever has taken too long."""
        waited_ms = now_ms - self._phase_since_ms
        if self._stalls_ms(now_ms) > self._limits.client_stall_ms_max:
            self._lose(SlowReader("the client does not read its answer"))
            self._transport.abort()
        elif self._closing_since_ms is not None:
            # A close waits until everything is sent, and to a client that does not read that is for ever.
            if now_ms - self._closing_since_ms > self._limits.client_stall_ms_max:
                self._transport.abort()
        elif self._phase is Phase.IDLE and waited_ms > self._limits.keep_alive_ms_max:
            self._close()
        elif self._phase is Phase.HEAD and waited_ms > self._limits.request_head_ms_max:
            self._refuse(RequestTooSlow("the request's headers took too long"))
        elif self._phase is Phase.BODY and waited_ms > self._limits.request_body_ms_max:
            self._refuse(RequestTooSlow("the request's body took too long"))
        elif self._phase is Phase.LINGER and waited_ms > LINGER_MS:
            self._transport.abort()

    def drain(self) -> None:
        """Close now if idle, else after the answer in flight."""
        if self._phase is Phase.IDLE:
            self._close()

    # Its own.

    def _stalls_ms(self, now_ms: float) -> float:
        """How long the client has been behind, or has taken nothing at all of what waits for it."""
        paused_ms = now_ms - self._paused_since_ms if self.is_paused else 0.0
        return max(paused_ms, self._stall.lasts_ms(now_ms))

    def _close(self) -> None:
        """Close once everything is sent."""
        if self._closing_since_ms is None:
            self._closing_since_ms = self._clock.now_ms()
        self._transport.close()

    def _drop_backlog(self) -> None:
        while self._backlog:
            self._backlog.popleft().release()

    def _take(self, request: HttpRequest) -> None:
        if request.refusal is not None and not request.keep_alive:
            self._refusal = request.refusal  # its body is on its way, and nobody will read it
        self._backlog.append(request)
        self._serve_next()

    def _let_continue(self) -> None:
        if self._exchange is None and not self._backlog:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _is_backlog_full(self) -> bool:
        bodies_size = sum(len(request.body) for request in self._backlog)
        return (
            len(self._backlog) >= self._limits.pipelined_requests_max
            or bodies_size >= self._limits.body_size_bytes_max
        )

    def _serve_next(self) -> None:
        """Hand over waiting requests one by one; not re-entered when an answer ends at once."""
        if self._is_serving:
            return
        self._is_serving = True
        while (
            self._exchange is None
            and self._backlog
            and not self.is_paused
            and not self._transport.is_closing()
        ):
            self._exchange = exchange = Exchange(self._backlog.popleft(), self)
            self._enter(Phase.ANSWER)
            self._owner.handle(exchange)
        self._is_serving = False
        if self._exchange is not None or self._backlog or self._transport.is_closing():
            return
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif not self._is_reading:
            self._is_reading = True
            self._transport.resume_reading()

    def _refuse(self, refusal: MeshError) -> None:
        """Answer out of turn and close."""
        self._refusal = refusal
        if self._phase is Phase.LINGER or self._transport.is_closing():
            return
        response = self._owner.error_response(refusal)
        headers = [
            ("content-type", response.content_type),
            ("content-length", str(len(response.body))),
            ("date", self._owner.date),
            ("connection", "close"),
            *response.headers,
        ]
        self._transport.write(encode_head(response.status, headers) + response.body)
        self._linger()

    def _linger(self) -> None:
        """Close after the last answer, reading on for a while only to throw it away.

        Closing with unread input would reset the connection, and the client might never see the answer.
        """
        self._enter(Phase.LINGER)
        if self._transport.can_write_eof():  # TLS cannot close one direction alone
            self._transport.write_eof()

    def _lose(self, why: MeshError) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lose(why)

    def _note_phase(self) -> None:
        if self._exchange is not None or self._phase is Phase.LINGER:
            return
        if self._parser.in_head:
            self._enter(Phase.HEAD)
        elif self._parser.in_body:
            self._enter(Phase.BODY)
        else:
            self._enter(Phase.IDLE)

    def _enter(self, phase: Phase) -> None:
        if phase is not self._phase:
            self._phase = phase
            self._phase_since_ms = self._clock.now_ms()
