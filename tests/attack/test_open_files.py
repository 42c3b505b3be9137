"""Connections that say nothing take a process's descriptors only down to what it keeps for itself."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry

from services.cli.ports import free_ports
from services.common.rpc import RpcServer
from services.common.rpc.lane import CONNECT, LaneServer
from services.common.telemetry import serve_metrics
from tests.mesh import model
from tests.mesh.harness import Mesh

DESCRIPTORS = 256
IDLE = 400
WAIT_S = 20.0


@pytest.fixture
def few_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process takes itself for one that may open few files."""
    with socket.socket() as probe:
        soft = 2 * (probe.fileno() + 40)
    monkeypatch.setattr("services.common.descriptors.resource.getrlimit", lambda _: (soft, soft))


class SmallMesh(Mesh):
    """A mesh whose processes may open few files, and begin with a soft limit that is lower still."""

    def __enter__(self) -> "SmallMesh":
        limits = f'ulimit -Sn 100; ulimit -Hn {DESCRIPTORS}; exec "$@"'
        self._command = ["sh", "-c", limits, "sh", *self._command]
        super().__enter__()
        return self


@pytest.fixture
def small_mesh(tmp_path: Path) -> Iterator[Mesh]:
    with SmallMesh(model.build(tmp_path / "words"), tmp_path, "--engine", "sim") as mesh:
        yield mesh


def idle_connections(stack: ExitStack, address: tuple[str, int]) -> list[socket.socket]:
    return [stack.enter_context(socket.create_connection(address, WAIT_S)) for _ in range(IDLE)]


def words_of(connection: socket.socket) -> bytes:
    """What the server says to one that says nothing; empty while it says nothing either, or hangs up."""
    connection.settimeout(0.5)
    try:
        return connection.recv(4_096)
    except OSError:
        return b""


def ask(connection: HTTPConnection) -> int:
    body = b'{"model": "words", "prompt": "a b c", "max_tokens": 2}'
    connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_a_gateway_serves_while_idle_connections_take_its_descriptors(small_mesh: Mesh) -> None:
    pids, url = small_mesh.pids, urlsplit(small_mesh.url)
    assert url.hostname
    assert url.port
    grpc_host, _, grpc_port = str(small_mesh.facts["grpc"]).rpartition(":")
    with ExitStack() as stack:
        innocent = HTTPConnection(url.hostname, url.port, timeout=WAIT_S)
        stack.callback(innocent.close)
        assert ask(innocent) == 200
        idle_connections(stack, (grpc_host, int(grpc_port)))
        idle = idle_connections(stack, (url.hostname, url.port))
        assert b" 503 " in words_of(idle[-1]).splitlines()[0]
        assert [ask(innocent) for _ in range(20)] == [200] * 20
    small_mesh.wait_serving()
    assert small_mesh.pids == pids
    assert small_mesh.stop() == 0


@asynccontextmanager
async def lane_port() -> AsyncIterator[int]:
    async def never(_requests: object, _context: object) -> None: ...

    server = LaneServer({CONNECT: never})
    yield await server.start("127.0.0.1", 0)
    await server.stop()


@asynccontextmanager
async def grpc_port() -> AsyncIterator[int]:
    server = RpcServer([])
    yield await server.start("127.0.0.1", 0)
    await server.stop(0)


@asynccontextmanager
async def metrics_port() -> AsyncIterator[int]:
    port = next(free_ports(Random()))
    with serve_metrics(port, registry=CollectorRegistry()):
        yield port


@pytest.mark.usefixtures("few_descriptors")
@pytest.mark.parametrize("port_of", [lane_port, grpc_port, metrics_port])
async def test_a_port_inside_the_mesh_hangs_up_on_what_would_take_the_reserve(port_of: Any) -> None:
    async with port_of() as port, AsyncExitStack() as stack:
        for _ in range(IDLE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    while await reader.read(100):
                        pass  # a greeting
                    return  # it has hung up, long before the last
    pytest.fail("all connections were taken")
