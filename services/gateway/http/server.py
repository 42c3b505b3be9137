"""The HTTP server: a listening socket, its connections, and their end."""

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from typing import Any

from services.common.background import keep_running
from services.common.clock import Clock, MonotonicClock, until_beat_s
from services.common.errors import Internal, MeshError, PortInUse
from services.common.limits import DEFAULTS, Limits
from services.gateway.http.admission import Admission, Admit
from services.gateway.http.connection import Connection
from services.gateway.http.exchange import Exchange
from services.gateway.http.message import HttpRequest, HttpResponse
from services.gateway.http.routes import Handler
from services.gateway.shared_room import SharedRoom

TICK_S = 1.0
"""How often connections are checked for having taken too long."""
LISTEN_BACKLOG = 2_048

_log = logging.getLogger(__name__)


class HttpServer:
    """Serves one handler.

    Use: `async with HttpServer(...) as server: await server.listen(host, port)`, then `drain`. Everything it
    started has ended when the block is left. Tasks of handlers that return coroutines belong to it.
    """

    def __init__(
        self,
        handler: Handler,
        error_response: Callable[[MeshError], HttpResponse],
        *,
        limits: Limits = DEFAULTS,
        clock: Clock | None = None,
        admit: Admit | None = None,
        room: SharedRoom | None = None,
    ) -> None:
        """`admit` decides by heads; without it everybody may send a body. `room` is for all their bodies."""
        self.limits = limits
        self.admit = admit or self._admit_all
        self.room = room or SharedRoom(limits.bodies_size_bytes_max)
        self.clock = clock or MonotonicClock()
        self.error_response = error_response
        self.date = formatdate(usegmt=True)
        self.is_draining = False
        self.is_over = False
        self._handler = handler
        self._connections: set[Connection] = set()
        self._all_closed = asyncio.Event()
        self._all_closed.set()
        self._tasks = asyncio.TaskGroup()
        self._ticker: asyncio.Task[None] | None = None
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> "HttpServer":
        await self._tasks.__aenter__()
        self._ticker = self._tasks.create_task(keep_running("connections", self._tick))
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._stop_listening()
        self.is_over = True
        for connection in list(self._connections):
            connection.abort()
        if self._connections:
            await self._all_closed.wait()  # the transports let go of their sockets in the loop's next turn
        if self._ticker is not None:
            self._ticker.cancel()
        # Not told of the block's own exception, which would come out wrapped in a group.
        await self._tasks.__aexit__(None, None, None)

    @property
    def connection_count(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def paused_count(self) -> int:
        """Connections whose client does not read as fast as it is written to."""
        # A copy, because metrics may be read in another thread.
        return sum(connection.is_paused for connection in list(self._connections))

    async def listen(
        self, host: str, port: int, *, reuse_port: bool = False, tls: ssl.SSLContext | None = None
    ) -> int:
        """Accept connections; returns the port (chosen by the system for 0). Raises `PortInUse`."""
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                lambda: Connection(self),
                host,
                port,
                backlog=LISTEN_BACKLOG,
                reuse_port=reuse_port or None,
                ssl=tls,
                ssl_handshake_timeout=self.limits.request_head_ms_max / 1000.0 if tls else None,
            )
        except socket.gaierror as error:
            raise PortInUse(f"cannot listen on {host}:{port}: {error.strerror}") from None
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
                raise PortInUse(f"cannot listen on {host}:{port}: {os.strerror(error.errno)}") from None
            raise
        for listening in self._listener.sockets:  # connections inherit it
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.limits.client_socket_buffer_bytes)
        return int(self._listener.sockets[0].getsockname()[1])

    async def drain(self, grace_ms: float) -> None:
        """Take no more connections and wait for the answers in flight, at most for the grace time."""
        self.is_draining = True
        self._stop_listening()
        for connection in list(self._connections):
            connection.drain()
        try:
            async with asyncio.timeout(grace_ms / 1000.0):
                await self._all_closed.wait()
        except TimeoutError:
            _log.warning("drain: %d connections cut after %.0f ms", len(self._connections), grace_ms)

    def opened(self, connection: Connection) -> bool:
        """Register a connection; False when there are too many."""
        self._connections.add(connection)
        self._all_closed.clear()
        if self.is_over:
            connection.abort()
        is_full = len(self._connections) > self.limits.connections_max or connection.is_in_reserve
        return not (is_full or self.is_draining)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._all_closed.set()

    def handle(self, exchange: Exchange) -> None:
        """Have an exchange answered; what goes wrong before the answer has begun becomes an error answer."""
        try:
            later = self._handler(exchange)
        except Exception as error:  # a handler's fault must not end the server
            self._answer_error(exchange, error)
        else:
            if later is not None:
                self._tasks.create_task(self._run(exchange, later))

    def _admit_all(self, _: HttpRequest) -> Admission:
        return Admission(self.limits.body_size_bytes_max)

    async def _run(self, exchange: Exchange, later: Coroutine[Any, Any, None]) -> None:
        try:
            await later
        except Exception as error:  # a handler's fault must not end the server
            self._answer_error(exchange, error)

    def _answer_error(self, exchange: Exchange, error: Exception) -> None:
        if not isinstance(error, MeshError):
            _log.error("%s %s failed", exchange.request.method, exchange.request.path, exc_info=error)
            error = Internal("internal error")
        if exchange.is_started:
            exchange.drop(error)
        else:
            exchange.respond((exchange.error_response or self.error_response)(error))

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(until_beat_s(TICK_S))
            self.date = formatdate(usegmt=True)
            now_ms = self.clock.now_ms()
            for connection in list(self._connections):
                connection.check_time(now_ms)
