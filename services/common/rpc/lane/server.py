"""The serving end: a port on which gRPC servicers are had without HTTP/2."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.rpc import code_pb2, status_pb2

from pdmesh.lane.v1 import lane_pb2, lane_pb2_grpc
from services.common.credentials import OPEN, Security
from services.common.descriptors import is_reserved
from services.common.errors import PortInUse, Unauthenticated
from services.common.limits import DEFAULTS, Limits
from services.common.rpc.lane.method import Method
from services.common.rpc.lane.stream import DETAILS, Kind, Stream
from services.common.rpc.status import status_of
from services.common.rpc.tls import server_context

Handler = Callable[[Any, Any], Awaitable[None]]
"""A servicer's method: its requests, which a `Link` does not use, and its context."""

OPENING_SIZE_BYTES_MAX = 8 * 1024
_log = logging.getLogger("pdmesh.rpc")


class LaneServer:
    """Listens on one port; every connection is one call of one method."""

    def __init__(
        self, handlers: Mapping[Method, Handler], limits: Limits = DEFAULTS, security: Security = OPEN
    ) -> None:
        self.port = 0
        self.limits, self.security = limits, security
        self.handlers = {method.name: (method, handler) for method, handler in handlers.items()}
        self.streams: set[ServerStream] = set()
        """The connections that there are."""
        self.is_over = False
        self._all_closed = asyncio.Event()
        self._all_closed.set()
        self.tasks = asyncio.TaskGroup()
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Bind and serve; returns the port. Raises PortInUse, and BadSetting for bad certificates."""
        context = server_context(self.security)
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                lambda: ServerStream(self), host.strip("[]"), port, ssl=context
            )
        except OSError as failure:
            raise PortInUse(f"cannot listen on {host}:{port}") from failure
        await self.tasks.__aenter__()
        self.port = int(self._listener.sockets[0].getsockname()[1])
        return self.port

    async def stop(self) -> None:
        """Take no more connections, and cancel the calls that there are."""
        self.is_over = True
        if self._listener is None:
            return
        self._listener.close()
        for stream in list(self.streams):
            stream.cut()
        await self.tasks.__aexit__(None, None, None)
        await self._all_closed.wait()
        await asyncio.sleep(0)  # the transports let go of their sockets in the loop's next turn

    def joins(self, stream: "ServerStream") -> bool:
        """Register a connection; False when there are too many, or the server has ended."""
        self.streams.add(stream)
        self._all_closed.clear()
        return len(self.streams) <= self.limits.lanes_max and not self.is_over

    def left(self, stream: "ServerStream") -> None:
        """Forget a connection."""
        self.streams.discard(stream)
        if not self.streams:
            self._all_closed.set()


class LaneServicer(lane_pb2_grpc.LaneServiceServicer):
    """`pdmesh.lane.v1.LaneService`."""

    def __init__(self, lanes: LaneServer) -> None:
        self._lanes = lanes

    async def Find(  # noqa: N802 - the name is the protocol's
        self, _request: lane_pb2.FindRequest, _context: Any
    ) -> lane_pb2.FindResponse:
        """Where the lanes are."""
        return lane_pb2.FindResponse(port=self._lanes.port, takes_token_frames=True)


class Aborted(Exception):
    """A handler has ended its call with a status."""


class ServerStream(Stream):
    """As much of a `grpc.aio.ServicerContext` as a `Link` and `abort_with` need."""

    def __init__(self, server: LaneServer) -> None:
        super().__init__(OPENING_SIZE_BYTES_MAX)
        self.task: asyncio.Task[None] | None = None
        self._server = server
        self._late: asyncio.TimerHandle | None = None

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any = ()) -> NoReturn:
        """End the call with a status; its details come as gRPC carries them."""
        body = next((value for key, value in trailing_metadata if key == DETAILS), None)
        if body is None:
            body = status_pb2.Status(code=code.value[0], message=details).SerializeToString()
        self._send(Kind.STATUS, body)
        raise Aborted(details)

    def cut(self) -> None:
        """End it without a word."""
        if self.task is not None:
            self.task.cancel()
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the opening, not for ever."""
        super().connection_made(transport)
        if not self._server.joins(self) or is_reserved(transport):
            _log.warning("a lane is refused: %d are open", len(self._server.streams))
            self.cut()
            return
        wait_s = self._server.limits.heartbeat_timeout_ms / 1e3
        self._late = asyncio.get_running_loop().call_later(wait_s, self.cut)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: its call is cancelled, as gRPC does it."""
        self._opened()
        if self.task is not None:
            self.task.cancel()
        super().connection_lost(exc)
        self._server.left(self)

    def _opened(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _on_other(self, kind: int, body: bytes) -> None:
        if kind == Kind.OPENING and self.task is None:
            self._open(lane_pb2.Opening.FromString(body))
        elif kind == Kind.END and self.task is not None:
            self._finish(grpc.aio.EOF)
        else:
            super()._on_other(kind, body)

    def _open(self, opening: lane_pb2.Opening) -> None:
        self._opened()
        method, handler = self._server.handlers.get(opening.method, (None, _unknown))
        if not self._server.security.accepts(opening.secret):
            handler = _refuse
        elif method is not None:
            self._frames.size_bytes_max = self._server.limits.frame_size_bytes_max
            self._message = method.request
            self.takes_token_frames = opening.takes_token_frames
        self.task = self._server.tasks.create_task(self._serve(handler))

    async def _serve(self, handler: Handler) -> None:
        try:
            await handler(None, self)
            self._send(Kind.STATUS, status_pb2.Status().SerializeToString())
        except Aborted:
            pass  # the status is on its way
        except asyncio.CancelledError:
            if self.transport is not None:
                self.transport.abort()
        except Exception:  # one call's fault must not end the others
            _log.exception("a call on a lane failed")
            failed = status_pb2.Status(code=code_pb2.UNKNOWN, message="internal error")
            self._send(Kind.STATUS, failed.SerializeToString())
        finally:
            if self.transport is not None:
                self.transport.close()

    def _violated(self, fault: Exception) -> None:
        _log.warning("a lane is cut off: %s", fault)
        self.cut()


async def _refuse(_requests: Any, context: ServerStream) -> None:
    error = Unauthenticated("this port is for callers with the mesh's secret")
    context._send(Kind.STATUS, status_of(error).SerializeToString())
    raise Aborted


async def _unknown(_requests: Any, context: ServerStream) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method here")
