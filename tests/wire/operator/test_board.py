"""Several routers show operators one picture of who waits where, through a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from pdmesh.keda import externalscaler_pb2 as keda_pb2
from pdmesh.keda.externalscaler_pb2_grpc import ExternalScalerStub
from pdmesh.operator.v1 import operator_pb2, operator_pb2_grpc
from pdmesh.router.v1 import router_pb2, router_pb2_grpc
from services.cli.operator.fleet import lines
from services.common.clock import MonotonicClock
from services.common.domain import Request, Role, Sampling
from services.common.domain.tokens import tokens
from services.common.errors import StoreUnavailable
from services.common.rpc import Link, open_channel
from services.common.rpc.convert import request_to_wire
from services.common.rpc.frames import SubmissionDraft
from services.common.store.memory import MemoryStore
from services.router.board import PREFIX, ROSTER, Board
from services.router.lease import Lease
from services.router.main import serve
from services.router.notes import RouterNote
from services.router.settings import Settings
from tests.redis_server import RedisServer, redis_server
from tests.wire.worker.conftest import RunningWorker
from tests.wire.worker.fake_router import WAIT_S


@asynccontextmanager
async def running(router_id: str, store: str, **given: Any) -> AsyncIterator[str]:
    """A router's address while the block runs."""
    settings = Settings(port=0, router_id=router_id, store=store, canary_interval_ms=0, grace_ms=0, **given)
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(settings, stop, ready.set_result, CollectorRegistry()))
    try:
        async with asyncio.timeout(WAIT_S):
            await asyncio.wait((serving, ready), return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving
            yield (await ready)["url"]
    finally:
        stop.set()
        await serving


async def fleet(address: str) -> operator_pb2.DescribeFleetResponse:
    async with open_channel(address) as channel:
        stub = operator_pb2_grpc.OperatorServiceStub(channel)
        return await stub.DescribeFleet(operator_pb2.DescribeFleetRequest())


async def until(address: str, is_met) -> operator_pb2.DescribeFleetResponse:
    async with asyncio.timeout(WAIT_S):
        while not is_met(shown := await fleet(address)):
            await asyncio.sleep(0.05)
    return shown


@asynccontextmanager
async def waiting_requests(address: str, number: int) -> AsyncIterator[None]:
    """So many requests at a router whose only worker stands by."""
    async with open_channel(address) as channel:
        call, draft = router_pb2_grpc.RouterServiceStub(channel).Connect(), SubmissionDraft()
        draft.greet(router_pb2.GatewayGreeting(gateway_id="g", version="1"))
        for stream in range(1, number + 1):
            request = Request(f"r{stream}", "sim", tokens([7] * 10), Sampling(max_tokens=5))
            draft.submit(request_to_wire(stream, request))
        link: Link[Any, Any] = Link(call, draft)
        link.wake()
        exchange = asyncio.create_task(link.run(lambda _: None))
        try:
            yield
        finally:
            exchange.cancel()
            await asyncio.wait([exchange])
            call.cancel()


async def test_one_picture_of_who_waits_at_which_router(redis: RedisServer) -> None:
    async with running("east", redis.url) as east, running("west", redis.url) as west:
        worker = RunningWorker(
            "decode", [east, west], (), {"standby": True, "grace_ms": 50, "served_model_name": "sim"}
        )
        await worker.is_ready()
        for address in (east, west):
            await until(address, lambda shown: shown.workers)
        async with waiting_requests(west, 3):
            shown = await until(east, lambda shown: any(r.open_requests == 3 for r in shown.routers))
            own, other = shown.routers
            assert (own.router_id, own.open_requests) == ("east", 0)
            assert other.router_id == "west"
            queue = next(queue for queue in other.queues if queue.role == Role.DECODE)
            assert (queue.model, queue.requests, queue.tokens, queue.wait_ms_max) == ("sim", 3, 30, 10_000)
            assert queue.oldest_wait_ms > 0.0
            assert any(line.split()[:5] == ["west", "3", "decode", "sim", "3"] for line in lines(shown))
        await worker.end()


async def test_each_router_tells_keda_what_all_of_them_need(redis: RedisServer) -> None:
    """20 requests at four seats, all at the one router: five workers, by the other one's word too."""
    asked = keda_pb2.GetMetricsRequest(
        scaledObjectRef=keda_pb2.ScaledObjectRef(scalerMetadata={"model": "sim", "tier": "decode"}),
        metricName="decode-replicas",
    )
    slow = ("max-num-seqs=4", "step-ms=1000")
    async with running("east", redis.url) as east, running("west", redis.url) as west:
        worker = RunningWorker("decode", [east, west], slow, {"grace_ms": 50, "served_model_name": "sim"})
        await worker.is_ready()
        for address in (east, west):
            await until(address, lambda shown: shown.workers)
        async with waiting_requests(west, 20), open_channel(east) as channel:
            replicas = 0
            async with asyncio.timeout(WAIT_S):
                while replicas < 5:
                    told = await ExternalScalerStub(channel).GetMetrics(asked)
                    replicas = told.metricValues[0].metricValue
            assert replicas == 5
        await worker.end()


async def test_a_router_that_ends_leaves_the_picture_at_once(redis: RedisServer) -> None:
    async with running("east", redis.url) as east:
        async with running("west", redis.url):
            await until(east, lambda shown: len(shown.routers) == 2)
        await until(east, lambda shown: len(shown.routers) == 1)


async def test_without_redis_a_router_shows_itself_and_goes_on(redis: RedisServer) -> None:
    async with running("east", redis.url) as east, running("west", redis.url):
        await until(east, lambda shown: len(shown.routers) == 2)
        redis.kill()
        shown = await until(east, lambda shown: len(shown.routers) == 1)
        assert shown.routers[0].router_id == "east"


async def test_a_store_that_is_away_at_the_start_is_one_clear_error() -> None:
    with pytest.raises(StoreUnavailable):
        async with running("east", "redis://127.0.0.1:1"):
            pass


async def test_notes_that_make_no_sense_are_passed_over() -> None:
    store = MemoryStore()
    for name, value in (("a", b"{"), ("b", b"[]"), ("c", b'{"router_id": "c", "open_requests": 0}')):
        await store.set(PREFIX + name, value, 10_000)
        await store.enter(ROSTER, name, 10_000)
    good = b'{"router_id": "d", "open_requests": 2, "queues": []}'
    await store.set(PREFIX + "d", good, 10_000)
    await store.enter(ROSTER, "d", 10_000)
    clock = MonotonicClock()
    board = Board(store, lambda: RouterNote("me", 0, ()), Lease(store, "me", clock), clock)
    posting = asyncio.create_task(board.run())
    async with asyncio.timeout(WAIT_S):
        while len(board.notes()) == 1:
            await asyncio.sleep(0.01)
    posting.cancel()
    await asyncio.wait([posting])
    assert [note.router_id for note in board.notes()] == ["me", "d"]
    assert await store.get(PREFIX + "me") is None


@pytest.fixture
def redis():
    with redis_server() as server:
        yield server
