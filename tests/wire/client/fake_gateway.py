"""A gateway that does what the test says: a real gRPC server with a scripted InferenceService."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from pdmesh.inference.v1 import answer_pb2, inference_pb2, inference_pb2_grpc
from services.common.rpc import RpcServer

SERVICE = "pdmesh.inference.v1.InferenceService"
Script = Callable[[inference_pb2.ChatRequest, grpc.aio.ServicerContext], Awaitable[None]]
WHOLE = inference_pb2.ChatResponse(summary=answer_pb2.Summary(request_id="r"))


def token(number: int, text: str = "") -> inference_pb2.ChatResponse:
    """One token of the first choice."""
    return inference_pb2.ChatResponse(
        deltas=[answer_pb2.Delta(text=text or f"{number} ", token_ids=[number])]
    )


class FakeGateway(inference_pb2_grpc.InferenceServiceServicer):
    """Calls its scripts in turn, the last one again and again; `asked` keeps the requests."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.asked: list[inference_pb2.ChatRequest] = []
        self.contexts: list[grpc.aio.ServicerContext] = []
        self.cancelled = 0
        self.server = RpcServer([SERVICE])

    async def Chat(self, request: Any, context: Any) -> None:  # noqa: N802
        """Play the next script."""
        copy = inference_pb2.ChatRequest()
        copy.CopyFrom(request)
        self.asked.append(copy)
        self.contexts.append(context)
        script = self.scripts[min(len(self.asked), len(self.scripts)) - 1]
        try:
            await script(request, context)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def ListModels(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Whatever the script does, and one model."""
        self.contexts.append(context)
        script = self.scripts[min(len(self.contexts), len(self.scripts)) - 1]
        await script(request, context)
        return inference_pb2.ListModelsResponse(models=[inference_pb2.Model(name="m", max_model_len=64)])


@asynccontextmanager
async def running(gateway: FakeGateway) -> AsyncIterator[str]:
    """Serve it while the block runs; yields its address."""
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(gateway, gateway.server.server)
    port = await gateway.server.start("127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await gateway.server.stop(0)
