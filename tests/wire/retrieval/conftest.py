"""A retriever, and a gateway that asks it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from pdmesh.retrieval.v1 import retriever_pb2 as wire
from pdmesh.retrieval.v1.retriever_pb2_grpc import RetrieverServiceStub
from services.common.retrieval import RetrievalSettings
from services.retriever.main import serve
from services.retriever.settings import Settings
from tests.unit.gateway.model_directory import write_model
from tests.wire.gateway.conftest import Edge, running_edge

DOCUMENTS = {
    "parrot.md": "The Norwegian Blue is a remarkable parrot with beautiful plumage.",
    "llama.md": "Llamas live in the Andes and carry loads over high passes.",
    "tax.md": "Income above the allowance is taxed at the marginal rate of its band.",
}


@asynccontextmanager
async def running_retriever(**settings: object) -> AsyncIterator[str]:
    """A whole retriever while the block runs; its address."""
    stop = asyncio.Event()
    ready: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    given = {"port": 0, "store_file": ":memory:", "grace_ms": 0, **settings}
    serving = asyncio.create_task(serve(Settings(**given), stop, ready.set_result, CollectorRegistry()))
    await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        await serving
    try:
        yield (await ready)["url"]
    finally:
        stop.set()
        await serving


@asynccontextmanager
async def stub_of(address: str) -> AsyncIterator[RetrieverServiceStub]:
    """The bare stub on a retriever."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield RetrieverServiceStub(channel)


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test model's directory."""
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
async def retriever() -> AsyncIterator[str]:
    """A retriever that knows three documents; its address."""
    async with running_retriever() as address, stub_of(address) as stub:
        documents = [wire.Document(id=name, text=text) for name, text in DOCUMENTS.items()]
        await stub.Ingest(wire.IngestRequest(documents=documents))
        yield address


@pytest.fixture
async def edge(model_directory: Path, retriever: str) -> AsyncIterator[Edge]:
    """A gateway that asks it."""
    hook = RetrievalSettings(address=retriever, timeout_ms=5_000)
    async with running_edge(model_directory, grace_ms=200, retrieval=hook) as running:
        yield running
