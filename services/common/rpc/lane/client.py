"""The calling end: a stream to a server, over a lane where it offers one."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from google.rpc import status_pb2

from pdmesh.lane.v1 import lane_pb2, lane_pb2_grpc
from services.common.credentials import OPEN, Security
from services.common.limits import DEFAULTS, Limits
from services.common.rpc.channel import open_channel
from services.common.rpc.lane.method import Method
from services.common.rpc.lane.stream import DETAILS, Kind, Stream, rpc_error
from services.common.rpc.tls import client_context

_log = logging.getLogger("pdmesh.rpc")


@asynccontextmanager
async def open_stream(
    address: str, method: Method, limits: Limits = DEFAULTS, security: Security = OPEN
) -> AsyncIterator[Any]:
    """A call of a bidirectional method at `HOST:PORT`, ended and closed on leaving.

    Over a lane where the server has one that can be reached, else as gRPC. Raises AioRpcError when the server
    cannot be reached or refuses, and BadSetting when the certificates cannot be read.
    """
    channel = open_channel(address, limits, security)
    call: Any = None
    try:
        found = await _find(channel, limits, security)
        call = await _lane(address, found.port, method, limits, security) if found.port else None
        if call is None:
            call = _grpc_call(channel, method, security)
        else:
            call.takes_token_frames = found.takes_token_frames
            await channel.close()  # nothing else goes over it, and its pings would wake both ends
        yield call
    finally:
        if call is not None:
            call.cancel()
        await channel.close()
        if isinstance(call, ClientStream):
            await call.closed.wait()


async def _find(channel: grpc.aio.Channel, limits: Limits, security: Security) -> lane_pb2.FindResponse:
    """What lanes the server has; no port when it has none."""
    find = lane_pb2_grpc.LaneServiceStub(channel).Find
    try:
        found: lane_pb2.FindResponse = await find(
            lane_pb2.FindRequest(), metadata=security.metadata, timeout=limits.heartbeat_timeout_ms / 1e3
        )
    except grpc.aio.AioRpcError as failure:
        if failure.code() is grpc.StatusCode.UNIMPLEMENTED:
            return lane_pb2.FindResponse()
        raise
    return found


async def _lane(
    address: str, port: int, method: Method, limits: Limits, security: Security
) -> "ClientStream | None":
    host = address.rpartition(":")[0].strip("[]")
    tls = client_context(security)
    name = (security.tls_name or host) if tls is not None else None
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limits.heartbeat_timeout_ms / 1e3):
            _, stream = await loop.create_connection(
                lambda: ClientStream(method, limits, security), host, port, ssl=tls, server_hostname=name
            )
    except (OSError, TimeoutError, ssl.SSLError) as failure:
        _log.warning("lane %s:%d cannot be reached (%s); gRPC is used, at a higher cost", host, port, failure)
        return None
    return stream


def _grpc_call(channel: grpc.aio.Channel, method: Method, security: Security) -> Any:
    serialise, parse = method.request.SerializeToString, method.response.FromString
    multi = channel.stream_stream(method.name, request_serializer=serialise, response_deserializer=parse)
    return multi(metadata=security.metadata)


class ClientStream(Stream):
    """As much of a `grpc.aio.StreamStreamCall` as a `Link` needs."""

    def __init__(self, method: Method, limits: Limits, security: Security) -> None:
        super().__init__(limits.frame_size_bytes_max)
        self._message = method.response
        secret = security.secrets[0] if security.secrets else ""
        self.closed = asyncio.Event()
        self._opening = lane_pb2.Opening(method=method.name, secret=secret, takes_token_frames=True)

    async def done_writing(self) -> None:
        """Say that nothing follows."""
        if self._end is None:
            self._send(Kind.END)

    def cancel(self) -> bool:
        """End it at once, without a word."""
        if self.transport is not None:
            self.transport.abort()
        return self._end is None

    def done(self) -> bool:
        """Whether there is a status to ask for; there is not, because reading and writing raise it."""
        return False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the opening."""
        super().connection_made(transport)
        self._send(Kind.OPENING, self._opening.SerializeToString())

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        super().connection_lost(exc)
        self.closed.set()

    def _on_other(self, kind: int, body: bytes) -> None:
        if kind != Kind.STATUS:
            super()._on_other(kind, body)
        status = status_pb2.Status.FromString(body)
        self._finish(grpc.aio.EOF if status.code == 0 else _error(status, body))


def _error(status: status_pb2.Status, body: bytes) -> grpc.aio.AioRpcError:
    code = next((code for code in grpc.StatusCode if code.value[0] == status.code), grpc.StatusCode.UNKNOWN)
    return rpc_error(code, status.message, (DETAILS, body))
