"""The HTTP server over real sockets."""

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from services.common.clock import ManualClock
from services.common.errors import MeshError, PortInUse
from services.common.limits import DEFAULTS, Limits
from services.gateway.http import Exchange, HttpResponse, HttpServer, Routes
from tests.wire.gateway.raw_http import RawClient, get, post


def as_text(error: MeshError) -> HttpResponse:
    return HttpResponse(error.http_status, f"{error.reason}: {error.message}".encode(), "text/plain")


class App:
    """A handler with something of everything, and what happened to it."""

    def __init__(self) -> None:
        self.gone: list[MeshError] = []
        self.held: asyncio.Queue[Exchange] = asyncio.Queue()
        self.writable = 0
        self.routes = Routes()
        self.routes.add("GET", "/hello", lambda x: x.respond(HttpResponse(200, b"hello")))
        self.routes.add("POST", "/echo", lambda x: x.respond(HttpResponse(200, x.request.body)))
        self.routes.add("GET", "/held", self.hold)
        self.routes.add("GET", "/later", self.later)
        self.routes.add("GET", "/broken", self.broken)
        self.routes.add("GET", "/items/*", lambda x: x.respond(HttpResponse(200, x.request.path.encode())))

    def hold(self, exchange: Exchange) -> None:
        exchange.on_gone = self.gone.append
        exchange.on_writable = self._count_writable
        self.held.put_nowait(exchange)

    async def later(self, exchange: Exchange) -> None:
        await asyncio.sleep(0)
        exchange.respond(HttpResponse(200, b"later"))

    def broken(self, exchange: Exchange) -> None:
        raise ValueError("a bug")

    def _count_writable(self) -> None:
        self.writable += 1


@asynccontextmanager
async def serving(
    limits: Limits = DEFAULTS, clock: ManualClock | None = None
) -> AsyncIterator[tuple[App, HttpServer, int]]:
    app = App()
    async with HttpServer(app.routes, as_text, limits=limits, clock=clock) as server:
        yield app, server, await server.listen("127.0.0.1", 0)


async def eventually(check: Callable[[], bool]) -> None:
    while not check():
        await asyncio.sleep(0.005)


async def test_keep_alive_serves_one_request_after_another() -> None:
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        for _ in range(3):
            client.send(get("/hello"))
            response = await client.response()
            assert (response.status, response.body) == (200, b"hello")
            assert response.headers["connection"] == "keep-alive"
            assert response.headers["date"].endswith("GMT")
        await client.close()


async def test_a_request_may_come_byte_by_byte() -> None:
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        for byte in post("/echo", b"abc", "x-some: thing"):
            client.send(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.response()).body == b"abc"
        await client.close()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving() as (app, _, port):
        client = await RawClient.connect(port)
        client.send(get("/held") + post("/echo", b"second") + get("/later") + post("/echo", b"fourth"))
        held = await app.held.get()
        await asyncio.sleep(0.02)
        held.respond(HttpResponse(200, b"first"))
        assert [(await client.response()).body for _ in range(4)] == [
            b"first",
            b"second",
            b"later",
            b"fourth",
        ]
        await client.close()


async def test_deep_pipelining_is_bounded_but_complete_across_reads() -> None:
    limits = dataclasses.replace(DEFAULTS, pipelined_requests_max=4)
    async with serving(limits) as (app, _, port):
        client = await RawClient.connect(port)
        client.send(get("/held"))
        held = await app.held.get()
        for number in range(20):
            client.send(post("/echo", str(number).encode()))
            await client.writer.drain()
            await asyncio.sleep(0.002)
        held.respond(HttpResponse(200, b"held"))
        assert (await client.response()).body == b"held"
        bodies = []
        for _ in range(20):
            bodies.append(int((await client.response()).body))
            if len(bodies) == 4:
                break
        assert bodies == [0, 1, 2, 3]
        await client.close()


async def test_too_many_requests_in_one_segment_are_refused_after_answering_the_first() -> None:
    limits = dataclasses.replace(DEFAULTS, pipelined_requests_max=4)
    async with serving(limits) as (_, _, port):
        client = await RawClient.connect(port)
        client.send(get("/hello") * 100)
        statuses = [(await client.response()).status for _ in range(5)]
        assert statuses == [200, 200, 200, 200, 400]
        assert await client.is_closed()
        await client.close()


async def test_waiting_bodies_are_bounded_in_bytes() -> None:
    limits = dataclasses.replace(DEFAULTS, body_size_bytes_max=1_000_000)
    async with serving(limits) as (app, _, port):
        client = await RawClient.connect(port)
        client.send(get("/held"))
        held = await app.held.get()
        bodies = [bytes([number]) * 900_000 for number in range(40)]
        client.send(b"".join(post("/echo", body) for body in bodies))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.writer.drain()
        held.respond(HttpResponse(200, b"held"))
        assert (await client.response()).body == b"held"
        assert [(await client.response()).body for _ in bodies] == bodies
        await client.close()


async def test_head_is_get_without_the_body() -> None:
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        client.send(b"HEAD /hello HTTP/1.1\r\nhost: t\r\n\r\n")
        response = await client.response(has_body=False)
        assert (response.status, response.headers["content-length"]) == (200, "5")
        client.send(get("/hello"))
        assert (await client.response()).body == b"hello"
        await client.close()


async def test_http_1_0_gets_an_unchunked_stream_that_ends_with_the_connection() -> None:
    async with serving() as (app, _, port):
        client = await RawClient.connect(port)
        client.send(b"GET /held HTTP/1.0\r\n\r\n")
        held = await app.held.get()
        held.start(200, "text/plain")
        held.write(b"ab")
        held.finish(b"cd")
        response = await client.response()
        assert response.headers["connection"] == "close"
        assert response.body == b"abcd"
        await client.close()


async def test_a_stream_is_chunked_and_its_head_comes_with_the_first_part() -> None:
    async with serving() as (app, _, port):
        client = await RawClient.connect(port)
        client.send(get("/held"))
        held = await app.held.get()
        held.start(200, "text/plain", [("x-note", "two\r\nlines")])
        held.write(b"ab")
        head = await client.head()
        assert head.headers["x-note"] == "two  lines"
        held.write(b"")
        held.finish(b"cd")
        assert [chunk async for chunk in client.chunks()] == [b"ab", b"cd"]
        client.send(get("/hello"))
        assert (await client.response()).body == b"hello"
        await client.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /hello HTTP/9.9\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nx: y\r\n\r\n", 400),
        (b"GET /hello HTTP/1.0\r\nx: y\r\n\r\n", 200),
        (get("/nowhere"), 404),
        (get("/echo"), 405),
        (get("/broken"), 500),
        (get("/hello", "x-big: " + "x" * 40_000), 431),
        (b"GET /hello HTTP/1.1\r\nhost: t\r\nx: " + b"y" * 40_000, 431),
        (b"GET /" + b"u" * 40_000, 431),
        (b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: 99999999999\r\n\r\n", 413),
        (b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: " + b"0" * 9000 + b"3\r\n\r\nabc", 200),
        (b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: " + b"0" * 9000 + b"9999999999\r\n\r\nabc", 413),
        (b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: " + b"9" * 9000 + b"\r\n\r\n", 400),
        (get("/hello", "content-length: 5", "transfer-encoding: chunked") + b"0\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"CONNECT there:80 HTTP/1.1\r\nhost: there\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
)
async def test_bad_requests(request_bytes: bytes, status: int) -> None:
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        client.send(request_bytes)
        response = await client.response()
        assert response.status == status
        assert response.headers.get("allow") == ("POST" if status == 405 else None)
        if response.headers["connection"] == "close":
            assert await client.is_closed()
        await client.close()


async def test_a_large_body_is_refused_and_the_client_can_read_why() -> None:
    limits = dataclasses.replace(DEFAULTS, body_size_bytes_max=1000)
    async with serving(limits) as (_, server, port):
        for framing in (b"content-length: 3000000\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n2dc6c0\r\n"):
            client = await RawClient.connect(port)
            client.send(b"POST /echo HTTP/1.1\r\nhost: t\r\n" + framing)
            client.send(b"x" * 3_000_000)
            await client.writer.drain()
            response = await client.response()
            assert response.status == 413
            assert response.headers["connection"] == "close"
            await client.close()
        await eventually(lambda: server.connection_count == 0)


async def test_a_client_that_sends_everything_before_it_reads_gets_its_refusal() -> None:
    """Closing at once would reset the connection, and the answer would be lost with it."""
    limits = dataclasses.replace(DEFAULTS, body_size_bytes_max=1000)

    def send_then_read(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: 30000000\r\n\r\n")
            for _ in range(300):
                client.sendall(b"x" * 100_000)
            return client.recv(1000)

    async with serving(limits) as (_, _, port):
        assert (await asyncio.to_thread(send_then_read, port)).startswith(b"HTTP/1.1 413 ")


async def test_slow_heads_bodies_and_idle_connections_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.http.server.TICK_S", 0.01)
    clock = ManualClock()
    async with serving(clock=clock) as (app, _, port):
        idle, head, body, answered = [await RawClient.connect(port) for _ in range(4)]
        head.send(b"GET /hel")
        body.send(b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\na")
        answered.send(get("/held"))
        held = await app.held.get()
        await asyncio.sleep(0.05)
        clock.advance(DEFAULTS.request_head_ms_max + 1)
        assert (await head.response()).status == 408
        clock.advance(DEFAULTS.request_body_ms_max)
        assert (await body.response()).status == 408
        clock.advance(DEFAULTS.keep_alive_ms_max)
        assert await idle.is_closed()
        held.respond(HttpResponse(200, b"patience"))
        assert (await answered.response()).body == b"patience"
        for client in (idle, head, body, answered):
            await client.close()


async def test_too_many_connections_are_refused() -> None:
    limits = dataclasses.replace(DEFAULTS, connections_max=2)
    async with serving(limits) as (_, server, port):
        first, second = await RawClient.connect(port), await RawClient.connect(port)
        await eventually(lambda: server.connection_count == 2)
        third = await RawClient.connect(port)
        assert (await third.response()).status == 503
        first.send(get("/hello"))
        assert (await first.response()).status == 200
        for client in (first, second, third):
            await client.close()


@pytest.mark.parametrize("leave", ["close", "reset", "half-close"])
async def test_a_client_that_leaves_is_noticed(leave: str) -> None:
    async with serving() as (app, _, port):
        client = await RawClient.connect(port)
        client.send(get("/held"))
        held = await app.held.get()
        held.start(200, "text/plain")
        held.write(b"x")
        if leave == "reset":
            client.writer.transport.abort()
        elif leave == "half-close":
            client.writer.write_eof()
        else:
            await client.close()
        await eventually(lambda: bool(app.gone))
        assert app.gone[0].reason == "cancelled"
        held.write(b"into the void")
        held.finish()
        assert len(app.gone) == 1
        await client.close()


async def test_a_client_that_does_not_read_is_behind_and_catches_up() -> None:
    async with serving() as (app, _, port):
        client = await RawClient.connect(port, receive_buffer_bytes=4096)
        client.send(get("/held"))
        held = await app.held.get()
        held.start(200, "text/plain")
        sent = 0
        while not held.is_behind:
            held.write(b"x" * 10_000)
            sent += 10_000
            await asyncio.sleep(0)
        assert app.writable == 0
        received = 0
        head_task = asyncio.create_task(client.head())
        await head_task
        chunks = client.chunks()
        while received < sent:
            received += len(await anext(chunks))
        await eventually(lambda: app.writable == 1)
        assert not held.is_behind
        held.finish()
        assert [chunk async for chunk in chunks] == []
        await client.close()


async def test_a_client_that_never_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.http.server.TICK_S", 0.01)
    clock = ManualClock()
    async with serving(clock=clock) as (app, _, port):
        client = await RawClient.connect(port, receive_buffer_bytes=4096)
        client.send(get("/held"))
        held = await app.held.get()
        held.start(200, "text/plain")
        while not held.is_behind:
            held.write(b"x" * 10_000)
            await asyncio.sleep(0)
        clock.advance(DEFAULTS.client_stall_ms_max + 1)
        await eventually(lambda: bool(app.gone))
        assert app.gone[0].reason == "slow_reader"
        await client.close()


async def ms_until(clock: ManualClock, check: Callable[[], bool]) -> float:
    """Let time pass, a second for each check, until something has happened or is long due."""
    since_ms = clock.now_ms()
    while not check() and clock.now_ms() - since_ms < 3 * DEFAULTS.client_stall_ms_max:
        clock.advance(1_000)
        await asyncio.sleep(0.02)
    return clock.now_ms() - since_ms


@pytest.mark.parametrize("is_whole", [False, True])
async def test_a_client_that_takes_nothing_is_cut_off_though_this_side_has_room_for_its_answer(
    is_whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernels hold never says that it is behind; it is not kept until its pieces outgrow them."""
    monkeypatch.setattr("services.gateway.http.server.TICK_S", 0.01)
    clock = ManualClock()
    async with serving(clock=clock) as (app, server, port):
        client = await RawClient.connect(port, receive_buffer_bytes=4096)
        client.send(get("/held"))
        held = await app.held.get()
        if is_whole:
            held.respond(HttpResponse(200, b"x" * 100_000))
        else:
            held.start(200, "text/plain")
            held.write(b"x" * 100_000)
        assert not held.is_behind
        took_ms = await ms_until(clock, lambda: server.connection_count == 0)
        assert DEFAULTS.client_stall_ms_max < took_ms < 2 * DEFAULTS.client_stall_ms_max
        assert [error.reason for error in app.gone] == ([] if is_whole else ["slow_reader"])
        await client.close()


async def test_a_client_that_has_taken_all_may_wait_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.http.server.TICK_S", 0.01)
    clock = ManualClock()
    async with serving(clock=clock) as (app, server, port):
        client = await RawClient.connect(port)
        client.send(get("/held"))
        held = await app.held.get()
        held.start(200, "text/plain")
        held.write(b"x")
        await client.head()
        await ms_until(clock, lambda: server.connection_count == 0)
        assert server.connection_count == 1
        held.finish()
        await client.close()


async def test_a_client_that_never_reads_the_rest_is_cut_off_though_its_answer_is_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.gateway.http.server.TICK_S", 0.01)
    clock = ManualClock()
    async with serving(clock=clock) as (app, server, port):
        client = await RawClient.connect(port, receive_buffer_bytes=4096)
        client.send(get("/held", "connection: close"))
        held = await app.held.get()
        held.start(200, "text/plain")
        while not held.is_behind:
            held.write(b"x" * 10_000)
            await asyncio.sleep(0)
        while held.is_behind:
            await client.reader.read(1_000)
        held.write(b"x" * 40_000)
        assert not held.is_behind, "too little is left for that"
        held.finish()
        clock.advance(DEFAULTS.client_stall_ms_max - 1)
        await asyncio.sleep(0.05)
        assert server.connection_count == 1, "the client may read the rest"
        clock.advance(2)
        await eventually(lambda: server.connection_count == 0)
        await client.close()


async def test_drain_lets_answers_finish_and_closes_the_rest() -> None:
    async with serving() as (app, server, port):
        idle, busy = await RawClient.connect(port), await RawClient.connect(port)
        busy.send(get("/held"))
        held = await app.held.get()
        draining = asyncio.create_task(server.drain(10_000))
        assert await idle.is_closed()
        held.respond(HttpResponse(200, b"done"))
        response = await busy.response()
        assert response.body == b"done"
        await draining
        with pytest.raises(ConnectionRefusedError):
            await RawClient.connect(port)
        await idle.close()
        await busy.close()


async def test_drain_cuts_what_is_left_after_its_grace() -> None:
    async with serving() as (app, server, port):
        client = await RawClient.connect(port)
        client.send(get("/held"))
        await app.held.get()
        await server.drain(10)
        assert not app.gone
    assert [error.reason for error in app.gone] == ["cancelled"]
    await client.close()


async def test_a_port_in_use_is_one_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with HttpServer(Routes(), as_text) as server:
            with pytest.raises(PortInUse, match="cannot listen on"):
                await server.listen("127.0.0.1", taken.getsockname()[1])


async def test_two_servers_can_share_a_port() -> None:
    async with (
        serving() as (_, _, _),
        HttpServer(Routes(), as_text) as one,
        HttpServer(Routes(), as_text) as two,
    ):
        port = await one.listen("127.0.0.1", 0, reuse_port=True)
        assert await two.listen("127.0.0.1", port, reuse_port=True) == port
