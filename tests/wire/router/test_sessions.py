"""How the router takes workers and gateways in, and turns them away, over real gRPC."""

import asyncio
from collections.abc import AsyncIterator

import grpc.aio
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pdmesh.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from pdmesh.router.v1 import router_pb2, router_pb2_grpc
from services.common.domain import Capacity, Fingerprint, Registration, Request, Role, Sampling
from services.common.domain.tokens import tokens
from services.common.errors import MeshError, ModelNotFound, ProtocolViolation, RegistrationRefused
from services.common.rpc import error_from_rpc, open_channel
from services.common.rpc.convert import error_from_wire, registration_to_wire, request_to_wire
from services.router.main import serve
from services.router.settings import Settings

WAIT_S = 10.0


def registration(worker_id: str, block_size_tokens: int = 16, kv_blocks: int = 100) -> Registration:
    fingerprint = Fingerprint("m", "d", "f32", "f32", block_size_tokens, 1, "sim", "1", "sim")
    return Registration(worker_id, Role.DECODE, fingerprint, Capacity(kv_blocks, 1_000, 8, 512, 1_000))


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def channel(registry: CollectorRegistry) -> AsyncIterator[grpc.aio.Channel]:
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    settings = Settings(port=0, canary_interval_ms=0, grace_ms=50)
    serving = asyncio.create_task(serve(settings, stop, ready.set_result, registry))
    async with asyncio.timeout(WAIT_S):
        channel = open_channel((await ready)["url"])
    yield channel
    await channel.close()
    stop.set()
    await serving


async def attach(channel: grpc.aio.Channel, sent: Registration):
    call = fleet_pb2_grpc.FleetServiceStub(channel).Attach()
    await call.write(fleet_pb2.AttachRequest(sequence=1, registration=registration_to_wire(sent)))
    return call


async def read_out(call) -> None:
    """Read a call to its end."""
    while await call.read() is not grpc.aio.EOF:
        pass


async def end_of(call) -> MeshError:
    """The error that the router ends a call with, when its first word is that."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        assert not await asyncio.wait_for(call.read(), WAIT_S), "a frame came first"
    return error_from_rpc(failure.value)


async def test_a_worker_is_greeted_with_its_session_and_interval(channel):
    call = await attach(channel, registration("d"))
    frame = await call.read()
    assert frame.sequence == 1
    assert frame.greeting.session_id
    assert frame.greeting.load_interval_ms > 0
    call.cancel()


MISFIT = registration("b", block_size_tokens=32)
EMPTY = registration("b", kv_blocks=0)


@pytest.mark.parametrize(("refused", "words"), [(MISFIT, "b does not fit a"), (EMPTY, "no capacity")])
async def test_a_refused_worker_is_told_why_and_never_greeted(channel, refused, words):
    first = await attach(channel, registration("a"))
    await first.read()
    error = await end_of(await attach(channel, refused))
    assert isinstance(error, RegistrationRefused)
    assert words in error.message
    first.cancel()


async def test_a_worker_that_does_not_register_first_breaks_the_rules(channel):
    call = fleet_pb2_grpc.FleetServiceStub(channel).Attach()
    await call.write(fleet_pb2.AttachRequest(sequence=1))
    assert isinstance(await end_of(call), ProtocolViolation)


async def test_a_role_of_a_newer_version_breaks_the_rules_of_this_one(channel):
    wire = registration_to_wire(registration("d"))
    wire.role = 9
    call = fleet_pb2_grpc.FleetServiceStub(channel).Attach()
    await call.write(fleet_pb2.AttachRequest(sequence=1, registration=wire))
    assert isinstance(await end_of(call), ProtocolViolation)


async def test_a_gateway_hears_of_models_and_each_stream_has_one_outcome(channel):
    call = router_pb2_grpc.RouterServiceStub(channel).Connect()
    request = Request("r", "absent", tokens([1]), Sampling(max_tokens=1))
    await call.write(router_pb2.ConnectRequest(sequence=1, submissions=[request_to_wire(7, request)]))
    ended, greeted = [], False
    async with asyncio.timeout(WAIT_S):
        while not ended:
            frame = await call.read()
            greeted |= frame.HasField("greeting")
            ended += frame.ended
    assert greeted
    assert [e.stream for e in ended] == [7]
    assert isinstance(error_from_wire(ended[0].error), ModelNotFound)
    call.cancel()


async def test_one_stream_number_twice_ends_the_session_and_not_the_router(channel):
    worker = await attach(channel, registration("d"))
    await worker.read()
    request = Request("r", "m", tokens([1]), Sampling(max_tokens=1))
    call = router_pb2_grpc.RouterServiceStub(channel).Connect()
    twice = [request_to_wire(7, request)] * 2
    await call.write(router_pb2.ConnectRequest(sequence=1, submissions=twice))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await asyncio.wait_for(read_out(call), WAIT_S)
    assert isinstance(error_from_rpc(failure.value), ProtocolViolation)
    again = await attach(channel, registration("other"))
    assert (await again.read()).HasField("greeting")
    again.cancel()
    worker.cancel()


async def test_metrics_tell_the_fleet(channel, registry):
    worker = await attach(channel, registration("d"))
    await worker.read()
    text = generate_latest(registry).decode()
    assert 'pdmesh_router_workers{model="m",role="decode",state="serving"} 1.0' in text
    assert 'pdmesh_router_queue_requests{model="m",tier="decode"} 0.0' in text
    worker.cancel()
