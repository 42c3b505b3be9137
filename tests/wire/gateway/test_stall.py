"""What the kernel tells of a client that takes little, over real sockets."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from services.gateway.http.stall import Stall, taken_bytes, untaken_bytes

PIECE_BYTES = 1_000


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection, the server's first; its client has little room."""
    with socket.socket() as client, socket.create_server(("127.0.0.1", 0)) as listening:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(listening.getsockname())
        served, _ = listening.accept()
        with served:
            served.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield served, client


def watch(connection: socket.socket) -> Stall:
    return Stall(asyncio.BaseTransport({"socket": connection}))


def fill(served: socket.socket) -> None:
    """Write until the client's side takes no more, and some beyond."""
    served.setblocking(False)
    served.send(b"x" * 50 * PIECE_BYTES)
    taken = -1
    while taken != (taken := taken_bytes(served)):
        served.send(b"x")
    assert untaken_bytes(served)


def take_some(served: socket.socket, client: socket.socket) -> None:
    """Read until the kernel has noticed."""
    before = taken_bytes(served)
    while taken_bytes(served) == before:
        assert client.recv(PIECE_BYTES)


def test_nothing_stalls_while_nothing_waits(pair: tuple[socket.socket, socket.socket]) -> None:
    served, client = pair
    stall = watch(served)
    assert [stall.lasts_ms(now_ms) for now_ms in (0.0, 50_000.0)] == [0.0, 0.0]
    served.send(b"x")
    client.recv(1)
    while untaken_bytes(served):
        pass
    assert [stall.lasts_ms(now_ms) for now_ms in (100_000.0, 150_000.0)] == [0.0, 0.0]


def test_it_lasts_since_the_client_last_took_anything(pair: tuple[socket.socket, socket.socket]) -> None:
    served, client = pair
    stall = watch(served)
    fill(served)
    assert [stall.lasts_ms(now_ms) for now_ms in (1_000.0, 2_000.0, 30_000.0)] == [0.0, 1_000.0, 29_000.0]
    take_some(served, client)
    assert untaken_bytes(served), "more waits"
    assert [stall.lasts_ms(now_ms) for now_ms in (31_000.0, 32_000.0)] == [0.0, 1_000.0]


def test_what_is_written_meanwhile_does_not_hide_it(pair: tuple[socket.socket, socket.socket]) -> None:
    served, _ = pair
    stall = watch(served)
    fill(served)
    lasted = []
    for second in range(5):
        served.send(b"x" * PIECE_BYTES)
        lasted.append(stall.lasts_ms(second * 1_000.0))
    assert lasted == [0.0, 1_000.0, 2_000.0, 3_000.0, 4_000.0]


def test_a_connection_that_tells_nothing_never_stalls() -> None:
    one, other = socket.socketpair()
    with one, other:
        stall = watch(one)
        one.send(b"x")
        assert untaken_bytes(one)
        assert [stall.lasts_ms(now_ms) for now_ms in (0.0, 50_000.0)] == [0.0, 0.0]
    assert stall.lasts_ms(60_000.0) == 0.0, "closed"
