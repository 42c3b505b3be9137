"""A gateway's gRPC API before a scripted router."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from pdmesh.client import AsyncClient
from pdmesh.inference.v1.inference_pb2_grpc import InferenceServiceStub
from tests.unit.gateway.model_directory import write_model
from tests.wire.gateway.conftest import Edge, running_edge


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test model's directory."""
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
async def edge(model_directory: Path) -> AsyncIterator[Edge]:
    """A gateway with a scripted router, ready."""
    async with running_edge(model_directory, grace_ms=200) as running:
        yield running


@pytest.fixture
async def mesh(edge: Edge) -> AsyncIterator[AsyncClient]:
    """Our own client on it."""
    async with AsyncClient(edge.grpc) as client:
        yield client


@pytest.fixture
async def stub(edge: Edge) -> AsyncIterator[InferenceServiceStub]:
    """The bare stub on it, as any gRPC client has it."""
    async with grpc.aio.insecure_channel(edge.grpc) as channel:
        yield InferenceServiceStub(channel)
