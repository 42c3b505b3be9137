"""A whole gateway before a scripted router."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tokenizers import Tokenizer

from pdmesh.router.v1 import router_pb2
from services.common.limits import DEFAULTS
from services.gateway.main import serve
from services.gateway.settings import Settings
from tests.unit.gateway.model_directory import write_model
from tests.wire.gateway.fake_router import MODEL, FakeRouter, Job, running_router
from tests.wire.gateway.raw_http import RawClient, get


@dataclass
class Edge:
    """A gateway and all around it."""

    url: str
    port: int
    router: FakeRouter
    tokenizer: Tokenizer
    stop: asyncio.Event
    grpc: str = ""
    """Address of the gRPC API."""

    def ids(self, text: str) -> list[int]:
        """Token ids of a text."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def says(self, text: str, *, per_frame: int = 1, reason: int = 1) -> Callable[[Job], None]:
        """A script that answers every request with a text."""

        def script(job: Job) -> None:
            job.place()
            ids = self.ids(text)
            for start in range(0, len(ids), per_frame):
                job.send(ids[start : start + per_frame])
            job.end(reason)

        return script

    def says_ids(self, ids: list[int]) -> Callable[[Job], None]:
        """A script that answers every request with tokens."""

        def script(job: Job) -> None:
            job.place()
            job.send(ids)
            job.end()

        return script

    async def client(self, receive_buffer_bytes: int = 0) -> RawClient:
        """A raw connection to the gateway."""
        return await RawClient.connect(self.port, receive_buffer_bytes)

    async def metrics(self) -> dict[str, float]:
        """All samples of /metrics by name and labels."""
        client = await self.client()
        client.send(get("/metrics"))
        body = (await client.response()).body.decode()
        await client.close()
        pairs = (line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


@pytest.fixture(autouse=True)
async def close_clients() -> AsyncIterator[None]:
    """Close what a failed test left open, so that its own error is the one reported."""
    yield
    for client in list(RawClient.open_clients):
        await client.close()


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test model's directory."""
    return write_model(tmp_path_factory.mktemp("model"))


@asynccontextmanager
async def running_gateway(settings: Settings) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A gateway while the block runs: its URL, and the event that stops it."""
    async with announced_gateway(settings) as (facts, stop):
        yield facts["url"], stop


@asynccontextmanager
async def announced_gateway(settings: Settings) -> AsyncIterator[tuple[dict[str, str], asyncio.Event]]:
    """The same, with all that it says of itself."""
    stop = asyncio.Event()
    ready: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(settings, stop, ready.set_result, CollectorRegistry()))
    await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        await serving
    try:
        yield await ready, stop
    finally:
        stop.set()
        await serving


async def become_ready(port: int) -> None:
    """Wait until the gateway has its router and a model."""
    client = await RawClient.connect(port)
    status = 503
    while status != 200:
        client.send(get("/ready"))
        status = (await client.response()).status
        await asyncio.sleep(0.005)
    await client.close()


@asynccontextmanager
async def running_edge(
    directory: Path, *, models: Sequence[router_pb2.Model] = (MODEL,), **settings: object
) -> AsyncIterator[Edge]:
    """A gateway with a scripted router, ready."""
    router = FakeRouter()
    router.models = list(models)
    async with running_router(router) as router_port:
        given = {"port": 0, "model": str(directory), "router": (f"127.0.0.1:{router_port}",), **settings}
        async with announced_gateway(Settings(**given)) as (facts, stop):
            port = int(facts["url"].rsplit(":", 1)[1])
            await become_ready(port)
            tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
            yield Edge(facts["url"], port, router, tokenizer, stop, facts["grpc"])


@pytest.fixture
async def narrow_edge(model_directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Edge]:
    """The same, with so little room in the kernel that a client which does not read shows soon."""
    limits = dataclasses.replace(DEFAULTS, client_socket_buffer_bytes=4096)
    monkeypatch.setattr("services.gateway.main.DEFAULTS", limits)
    async with running_edge(model_directory, grace_ms=200) as running:
        yield running


@pytest.fixture
async def edge(model_directory: Path) -> AsyncIterator[Edge]:
    """A gateway with a scripted router, ready."""
    async with running_edge(model_directory, grace_ms=200) as running:
        yield running
