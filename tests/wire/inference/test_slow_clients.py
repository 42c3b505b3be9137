"""A client that does not read is paused, and then cut off alone."""

import asyncio
import dataclasses
import logging
from array import array
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from pdmesh.client import AsyncClient
from pdmesh.inference.v1 import inference_pb2
from pdmesh.inference.v1.inference_pb2_grpc import InferenceServiceStub
from services.common.errors import SlowReader
from services.common.limits import DEFAULTS
from services.common.rpc import error_from_rpc
from tests.wire.gateway.conftest import Edge, running_edge
from tests.wire.gateway.fake_router import Job

FRAME_TOKENS = 64
ROUNDS_MAX = 20_000


LITTLE_ROOM = {"client_buffer_bytes_max": 4_096}
LITTLE_TIME = {"client_stall_ms_max": 100}


@pytest.fixture
async def narrow_edge(
    request: pytest.FixtureRequest, model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Edge]:
    """A gateway with little patience."""
    monkeypatch.setattr("services.gateway.main.DEFAULTS", dataclasses.replace(DEFAULTS, **request.param))
    async with running_edge(model_directory, grace_ms=200) as running:
        yield running


def stalled(edge: Edge) -> grpc.aio.Channel:
    """A connection whose client takes in little before it is read from."""
    options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 16_384)]
    return grpc.aio.insecure_channel(edge.grpc, options=options)


REQUEST = inference_pb2.GenerateRequest(
    model="tiny", prompt_token_ids=[5], sampling={"max_tokens": 390, "ignore_eos": True}
)


def logged(caplog: pytest.LogCaptureFixture, error: str) -> bool:
    """Whether a call's log line says so."""
    return any(getattr(record, "error", "") == error for record in caplog.records)


async def feed(job: Job, rounds: int = ROUNDS_MAX) -> None:
    """Tokens without end (a gateway does not count them), until it is cut off."""
    for _ in range(rounds):
        job.send(array("I", [7]) * FRAME_TOKENS)
        await asyncio.sleep(0)
        if job.is_cancelled:
            return
        job.sent = array("I")


@pytest.mark.parametrize("narrow_edge", [LITTLE_ROOM, LITTLE_TIME], indirect=True)
async def test_one_that_never_reads_is_cut_off_alone(
    narrow_edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    """Its call is over at the gateway although it still does not read."""
    edge = narrow_edge
    caplog.set_level(logging.INFO, "pdmesh.request")
    async with stalled(edge) as channel, AsyncClient(edge.grpc) as other:
        slow = InferenceServiceStub(channel).Generate(REQUEST)
        job = await edge.router.job()
        stream = other.generate("tiny", [6])
        reading = asyncio.create_task(stream.whole())
        beside = await edge.router.job(2)
        await feed(job)
        assert job.is_cancelled
        beside.send([1, 2])
        beside.end()
        assert (await reading).choices[0].token_ids == [1, 2]
        assert not beside.is_cancelled
        while not logged(caplog, "slow_reader"):
            await asyncio.sleep(0.01)
        assert (await edge.metrics())["pdmesh_gateway_slow_readers_total"] == 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in slow:
                pass
        assert isinstance(error_from_rpc(caught.value), SlowReader)


async def test_one_that_pauses_gets_everything_in_fewer_messages(edge: Edge) -> None:
    async with stalled(edge) as channel:
        call = InferenceServiceStub(channel).Generate(REQUEST)
        job = await edge.router.job()
        for _ in range(500):
            job.send([7] * FRAME_TOKENS)
            await asyncio.sleep(0.0005)
        job.end()
        messages = [message async for message in call]
        assert sum(len(m.deltas[0].token_ids) for m in messages if m.deltas) == 500 * FRAME_TOKENS
        assert len(messages) < 500
        assert messages[-1].HasField("summary")
