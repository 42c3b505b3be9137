"""Lanes by themselves: who is let in, what is cut off, what is used where there is no lane."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from pdmesh.lane.v1 import lane_pb2
from pdmesh.router.v1 import router_pb2, router_pb2_grpc
from pdmesh.types.v1 import types_pb2
from services.common.credentials import OPEN, Security
from services.common.domain.tokens import tokens
from services.common.errors import BadSetting, ProtocolViolation, Unauthenticated
from services.common.limits import DEFAULTS, Limits
from services.common.rpc import RpcServer, error_from_rpc
from services.common.rpc.lane import ATTACH, CONNECT, LaneServer, Method, open_stream
from services.common.rpc.lane.client import ClientStream, _lane
from services.common.rpc.lane.stream import HEADER, Frames, Kind, Stream
from services.common.rpc.tls import client_context, server_context
from services.common.rpc.token_frame import TokenFrame
from tests.certificates import Authority

SECRET = "x" * 32
WAIT_S = 20.0
Handler = Callable[[Any], Awaitable[None]]


async def echo(context: Any) -> None:
    """Send every request's number back."""
    while (frame := await context.read()) is not grpc.aio.EOF:
        await context.write(router_pb2.ConnectResponse(sequence=frame.sequence))


@asynccontextmanager
async def lanes(
    handler: Handler = echo, limits: Limits = DEFAULTS, security: Security = OPEN
) -> AsyncIterator[LaneServer]:
    server = LaneServer({CONNECT: lambda _requests, context: handler(context)}, limits, security)
    await server.start("127.0.0.1", 0)
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def rpc_server(security: Security = OPEN) -> AsyncIterator[tuple[RpcServer, str]]:
    server = RpcServer([], security=security)
    server.offer_lanes({CONNECT: lambda _requests, context: echo(context)}, 0)
    port = await server.start("127.0.0.1", 0)
    try:
        yield server, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def echoed(call: Any, number: int) -> int:
    async with asyncio.timeout(WAIT_S):
        await call.write(router_pb2.ConnectRequest(sequence=number))
        return int((await call.read()).sequence)


class Raw:
    """A client that says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, server: LaneServer) -> "Raw":
        return cls(*await asyncio.open_connection("127.0.0.1", server.port))

    def open(self, method: Method = CONNECT, secret: str = "") -> None:
        self.send(Kind.OPENING, lane_pb2.Opening(method=method.name, secret=secret).SerializeToString())

    def send(self, kind: int, body: bytes = b"") -> None:
        self.writer.write(HEADER.pack(kind, len(body)) + body)

    async def kind(self) -> int:
        """The next frame's."""
        async with asyncio.timeout(WAIT_S):
            kind, size_bytes = HEADER.unpack(await self.reader.readexactly(HEADER.size))
            await self.reader.readexactly(size_bytes)
            return int(kind)

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""
            finally:
                self.writer.close()


def message(number: int) -> bytes:
    return router_pb2.ConnectRequest(sequence=number).SerializeToString()


def test_frames_are_whole_however_the_bytes_come():
    bodies = [b"", b"a", b"bc" * 500]
    sent = b"".join(HEADER.pack(7, len(body)) + body for body in bodies)
    for step in (1, 2, 3, 7, len(sent)):
        frames, kinds, got = Frames(1_000), set[int](), list[bytes]()

        def on_frame(kind: int, body: bytes, kinds: set[int] = kinds, got: list[bytes] = got) -> None:
            kinds.add(kind)
            got.append(body)

        for begin in range(0, len(sent), step):
            frames.feed(sent[begin : begin + step], on_frame)
        assert (kinds, got) == ({7}, bodies)


async def test_a_lane_ends_as_a_call_does():
    async with rpc_server() as (_, address), open_stream(address, CONNECT) as call:
        assert isinstance(call, Stream)
        assert [await echoed(call, n) for n in (1, 2)] == [1, 2]
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.read() is grpc.aio.EOF


async def test_a_method_that_is_not_there_is_unimplemented():
    async with rpc_server() as (_, address), open_stream(address, ATTACH) as call:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call.read()
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_fault_of_the_handler_ends_one_call():
    async def fails(_context: Any) -> None:
        raise ZeroDivisionError

    async with lanes(fails) as server:
        for _ in range(2):
            raw = await Raw.to(server)
            raw.open()
            answer = await raw.rest()
            assert answer[0] == Kind.STATUS
            assert b"internal error" in answer
        assert not server.streams


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        HEADER.pack(Kind.OPENING, 1 << 30),
        HEADER.pack(Kind.OPENING, 3) + b"\xff\xff\xff",
        HEADER.pack(Kind.MESSAGE, 0),
        HEADER.pack(Kind.END, 0),
        HEADER.pack(9, 0),
    ],
)
async def test_nonsense_instead_of_an_opening_is_cut_off(said: bytes):
    async with lanes() as server:
        raw = await Raw.to(server)
        raw.writer.write(said)
        assert await raw.rest() == b""
        assert not server.streams


@pytest.mark.parametrize(
    "said",
    [
        HEADER.pack(Kind.MESSAGE, DEFAULTS.frame_size_bytes_max + 1),
        HEADER.pack(Kind.MESSAGE, 3) + b"\xff\xff\xff",
        HEADER.pack(Kind.OPENING, 0),
        HEADER.pack(Kind.STATUS, 0),
    ],
)
async def test_nonsense_in_an_open_lane_cancels_its_call_alone(said: bytes):
    cancelled = asyncio.Event()

    async def handler(context: Any) -> None:
        try:
            await echo(context)
        finally:
            cancelled.set()

    async with lanes(handler) as server:
        healthy, raw = await Raw.to(server), await Raw.to(server)
        for client in (healthy, raw):
            client.open()
            client.send(Kind.MESSAGE, message(1))
            await client.reader.readexactly(HEADER.size + len(message(1)))
        raw.writer.write(said)
        assert await raw.rest() == b""
        async with asyncio.timeout(WAIT_S):
            await cancelled.wait()
        healthy.send(Kind.MESSAGE, message(5))
        kind, size_bytes = struct.unpack("!BI", await healthy.reader.readexactly(HEADER.size))
        body = await healthy.reader.readexactly(size_bytes)
        assert (kind, router_pb2.ConnectResponse.FromString(body).sequence) == (Kind.MESSAGE, 5)
        healthy.writer.close()


async def test_a_client_that_says_nothing_is_cut_off_and_too_many_are_refused():
    limits = replace(DEFAULTS, heartbeat_timeout_ms=100, lanes_max=2)
    async with lanes(limits=limits) as server:
        silent = [await Raw.to(server) for _ in range(2)]
        await asyncio.sleep(0.01)
        assert await (await Raw.to(server)).rest() == b""
        for raw in silent:
            assert await raw.rest() == b""
        assert not server.streams


async def test_a_client_that_vanishes_cancels_its_call():
    ended = asyncio.Event()

    async def handler(context: Any) -> None:
        try:
            await echo(context)
        except asyncio.CancelledError:
            ended.set()
            raise

    async with lanes(handler) as server:
        raw = await Raw.to(server)
        raw.open()
        raw.send(Kind.MESSAGE, message(1))
        await raw.reader.readexactly(HEADER.size)
        raw.writer.transport.abort()
        async with asyncio.timeout(WAIT_S):
            await ended.wait()


async def test_a_server_that_goes_is_unavailable_to_reads_and_writes():
    async with rpc_server() as (server, address), open_stream(address, CONNECT) as call:
        assert await echoed(call, 1) == 1
        await server.stop(0)
        for use in (call.read, lambda: call.write(router_pb2.ConnectRequest())):
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await use()
            assert failure.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_reader_that_stops_holds_the_writer_up_and_loses_nothing():
    go = asyncio.Event()
    frame = router_pb2.ConnectRequest(cancelled_streams=bytes(1 << 20))
    count, sent = 40, 0

    async def handler(context: Any) -> None:
        await go.wait()
        await echo(context)

    async def write(call: Any) -> None:
        nonlocal sent
        for number in range(count):
            frame.sequence = number
            await call.write(frame)
            sent += 1

    async with lanes(handler) as server:
        call = await call_to(server)
        writing = asyncio.create_task(write(call))
        await asyncio.sleep(0.3)
        assert sent < count
        go.set()
        async with asyncio.timeout(WAIT_S):
            assert [(await call.read()).sequence for _ in range(count)] == list(range(count))
            await writing
        call.cancel()
        await call.closed.wait()


async def sends_tokens(context: Any) -> None:
    """A frame of nothing but tokens, in the form that the client reads, between two messages."""
    await context.write(router_pb2.ConnectResponse(sequence=1))
    short = TokenFrame(2, 0, tokens([7, 8]), tokens([70, 80]))
    columns = types_pb2.TokenColumns(streams=tokens([7, 8]).tobytes(), token_ids=tokens([70, 80]).tobytes())
    whole = router_pb2.ConnectResponse(sequence=2, tokens=columns)
    await context.write(short if context.takes_token_frames else whole)
    await context.write(router_pb2.ConnectResponse(sequence=3))


async def test_token_frames_come_in_order_as_they_are():
    async with lanes(sends_tokens) as server:
        call, got = await call_to(server), list[Any]()
        assert await call.pump(got.append, got.append) is grpc.aio.EOF
        call.cancel()
        await call.closed.wait()
    assert [frame.sequence for frame in got] == [1, 2, 3]
    assert isinstance(got[1], TokenFrame)
    assert got[1].token_ids == tokens([70, 80])


async def test_both_ends_learn_that_the_other_reads_token_frames():
    async with rpc_server() as (_, address), open_stream(address, CONNECT) as call:
        assert call.takes_token_frames
    async with lanes(sends_tokens) as server:
        raw = await Raw.to(server)
        opening = lane_pb2.Opening(method=CONNECT.name, takes_token_frames=True)
        raw.send(Kind.OPENING, opening.SerializeToString())
        assert [await raw.kind() for _ in range(3)] == [Kind.MESSAGE, Kind.TOKENS, Kind.MESSAGE]
        raw.writer.close()


@pytest.mark.parametrize("is_pumped", [True, False])
async def test_who_does_not_ask_for_token_frames_gets_messages(is_pumped: bool):
    async with lanes(sends_tokens) as server:
        call, got = await call_to(server), list[Any]()
        if is_pumped:
            await call.pump(got.append)
        else:
            got += [await call.read() for _ in range(3)]
        call.cancel()
        await call.closed.wait()
    assert [frame.sequence for frame in got] == [1, 2, 3]
    assert got[1].tokens.token_ids == tokens([70, 80]).tobytes()


async def test_a_client_that_does_not_read_token_frames_gets_none():
    async with lanes(sends_tokens) as server:
        raw = await Raw.to(server)
        raw.open()
        kinds = [await raw.kind() for _ in range(4)]
        raw.writer.close()
    assert kinds == [Kind.MESSAGE, Kind.MESSAGE, Kind.MESSAGE, Kind.STATUS]


async def test_a_token_frame_is_a_violation_where_messages_have_no_tokens():
    async with lanes() as server:
        raw = await Raw.to(server)
        raw.open()
        raw.send(Kind.TOKENS, TokenFrame(1, 0, tokens([1]), tokens([1])).encode())
        assert await raw.rest() == b""


async def test_what_a_message_raises_ends_the_pumping():
    def fails(_message: Any) -> None:
        raise ProtocolViolation("not this one")

    async with lanes(sends_tokens) as server:
        call = await call_to(server)
        with pytest.raises(ProtocolViolation, match="not this one"):
            await call.pump(fails)
        call.cancel()
        await call.closed.wait()


async def call_to(server: LaneServer) -> ClientStream:
    loop = asyncio.get_running_loop()
    _, call = await loop.create_connection(
        lambda: ClientStream(CONNECT, DEFAULTS, OPEN), "127.0.0.1", server.port
    )
    return call


@pytest.mark.parametrize("shown", [(), ("y" * 32,)])
async def test_the_secret_is_asked_of_lanes_too(shown: tuple[str, ...]):
    security = Security(secrets=(SECRET,))
    async with lanes(security=security) as server:
        raw = await Raw.to(server)
        raw.open(secret="".join(shown))
        answer = await raw.rest()
        assert answer[0] == Kind.STATUS
        assert Unauthenticated.reason.encode() in answer
    async with rpc_server(security) as (_, address):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            async with open_stream(address, CONNECT, DEFAULTS, Security(secrets=shown)):
                pass
        assert isinstance(error_from_rpc(failure.value), Unauthenticated)
        async with open_stream(address, CONNECT, DEFAULTS, security) as call:
            assert await echoed(call, 3) == 3


async def test_a_lane_out_of_reach_is_told_and_grpc_used(caplog: pytest.LogCaptureFixture):
    class Servicer(router_pb2_grpc.RouterServiceServicer):
        async def Connect(self, _requests, context):  # noqa: N802
            await echo(context)

    server = RpcServer([])
    router_pb2_grpc.add_RouterServiceServicer_to_server(Servicer(), server.server)
    server.offer_lanes({CONNECT: lambda _requests, context: echo(context)}, 0)
    port = await server.start("127.0.0.1", 0)
    assert server._lanes is not None
    await server._lanes[0].stop()
    async with open_stream(f"127.0.0.1:{port}", CONNECT) as call:
        assert not isinstance(call, Stream)
        assert await echoed(call, 4) == 4
    assert "gRPC is used" in caplog.text
    await server.stop(0)


async def test_nobody_there_is_unavailable():
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        async with open_stream("127.0.0.1:1", CONNECT):
            pass
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("mutual", [False, True])
async def test_lanes_use_the_meshs_certificates_and_take_renewed_ones(mutual: bool, tmp_path: Path):
    authority = Authority(tmp_path)
    pair = authority.issue("member")
    member = Security(pair.cert, pair.key, authority.certificate, demands_certs=mutual)
    async with rpc_server(member) as (_, address):
        async with open_stream(address, CONNECT, DEFAULTS, member) as call:
            assert isinstance(call, Stream)
            assert await echoed(call, 1) == 1
            assert _serial(call) == pair.serial
        renewed = authority.issue("member")
        async with open_stream(address, CONNECT, DEFAULTS, member) as call:
            assert await echoed(call, 2) == 2
            assert _serial(call) == renewed.serial
        other = authority.issue("other")
        client = Security(other.cert, other.key, authority.certificate)
        spoil(renewed.cert)
        async with open_stream(address, CONNECT, DEFAULTS, client) as call:
            assert await echoed(call, 3) == 3


def spoil(path: str) -> None:
    Path(path).write_text("nonsense")


async def test_a_server_with_an_unknown_ca_and_a_client_without_a_certificate_get_no_lane(tmp_path: Path):
    authority, strange = Authority(tmp_path), Authority(tmp_path, "strange")
    pair = authority.issue("member")
    security = Security(pair.cert, pair.key, authority.certificate, demands_certs=True)
    async with lanes(security=security) as server:
        for client in (
            Security(tls_ca=authority.certificate),
            Security(pair.cert, pair.key, strange.certificate),
        ):
            assert not await _answers(server.port, client)
        assert await _answers(server.port, security)


async def _answers(port: int, security: Security) -> bool:
    call = await _lane(f"127.0.0.1:{port}", port, CONNECT, DEFAULTS, security)
    if call is None:
        return False
    try:
        return await echoed(call, 1) == 1
    except grpc.aio.AioRpcError:
        return False
    finally:
        call.cancel()
        await call.closed.wait()


def test_certificates_that_cannot_be_read_are_a_bad_setting(tmp_path: Path):
    missing = Security("no.pem", "no.key", "no.pem")
    for make in (client_context, server_context):
        with pytest.raises((BadSetting, OSError)):
            make(missing)


def _serial(call: Stream) -> int:
    assert call.transport is not None
    return int(call.transport.get_extra_info("peercert")["serialNumber"], 16)
