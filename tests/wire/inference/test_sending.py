"""A client given up for slow while its answer's first bytes are on their way."""

import asyncio
from collections.abc import AsyncIterator

import grpc.aio
import pytest

from pdmesh.inference.v1 import inference_pb2, inference_pb2_grpc
from services.common.errors import MeshError, SlowReader
from services.common.rpc import RpcServer, abort_with, error_from_rpc
from services.gateway.grpc.sending import send


class Flood:
    """A source of which more waits than may, as soon as its first message has been taken."""

    is_over, receipt = False, None

    def __init__(self) -> None:
        self.on_full = lambda: None

    def head(self):
        asyncio.get_running_loop().call_soon(lambda: self.on_full())
        return ()

    async def next(self):
        return inference_pb2.GenerateResponse()


class Servicer(inference_pb2_grpc.InferenceServiceServicer):
    async def Generate(self, _request, context):  # noqa: N802
        try:
            await send(context, Flood(), "r", 60_000.0)
        except MeshError as error:
            await abort_with(context, error)


@pytest.fixture
async def address() -> AsyncIterator[str]:
    server = RpcServer(["pdmesh.inference.v1.InferenceService"])
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(Servicer(), server.server)
    yield f"127.0.0.1:{await server.start('127.0.0.1', 0)}"
    await server.stop(0)


async def test_its_call_ends_with_the_reason(address: str):
    async with grpc.aio.insecure_channel(address) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.Generate(inference_pb2.GenerateRequest()).read()
    assert isinstance(error_from_rpc(failure.value), SlowReader)
