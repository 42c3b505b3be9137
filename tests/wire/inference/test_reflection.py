"""What tools such as grpcurl see: no stubs, only what the server says of itself."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from pdmesh.router.v1 import router_pb2
from tests.wire.gateway.conftest import Edge
from tests.wire.gateway.fake_router import FakeRouter

SERVICE = "pdmesh.inference.v1.InferenceService"


def call(address: str, method: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Call a method with JSON in and JSON out, as grpcurl does."""
    with grpc.insecure_channel(address) as channel:
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        described = pool.FindServiceByName(SERVICE).FindMethodByName(method)
        asks, answers = (
            message_factory.GetMessageClass(kind) for kind in (described.input_type, described.output_type)
        )
        invoke = channel.unary_stream(f"/{SERVICE}/{method}", asks.SerializeToString, answers.FromString)
        return [json_format.MessageToDict(answer) for answer in invoke(json_format.ParseDict(body, asks()))]


def services(address: str) -> set[str]:
    with grpc.insecure_channel(address) as channel:
        return set(ProtoReflectionDescriptorDatabase(channel).get_services())


async def test_a_client_without_stubs_lists_and_calls(edge: Edge) -> None:
    assert {SERVICE, "grpc.health.v1.Health"} <= await asyncio.to_thread(services, edge.grpc)
    edge.router.script = edge.says("Hello.")
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
    answers = await asyncio.to_thread(call, edge.grpc, "Chat", body)
    assert "".join(d.get("text", "") for a in answers for d in a.get("deltas", ())) == "Hello."
    assert answers[-1]["summary"]["receipts"][0]["decodeWorker"] == "decode-1"


@pytest.mark.parametrize("name", ["", SERVICE])
async def test_health_follows_the_router(edge: Edge, name: str) -> None:
    known = health_pb2.HealthCheckResponse
    async with grpc.aio.insecure_channel(edge.grpc) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=name))
        states = aiter(watch)
        while (await anext(states)).status != known.SERVING:
            pass
        lose_models(edge.router)
        assert (await anext(states)).status == known.NOT_SERVING


def lose_models(router: FakeRouter) -> None:
    """The router serves nothing any more."""
    (session,) = router.sessions
    session.draft.set_models(router_pb2.ModelList())
    session.link.wake()
