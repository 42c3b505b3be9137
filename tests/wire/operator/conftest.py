"""A router, workers of the sim engine, and an operator, all over real gRPC in one process."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from pdmesh.operator.v1 import operator_pb2, operator_pb2_grpc
from services.common.rpc import open_channel
from services.router.main import serve
from services.router.settings import Settings
from tests.wire.worker.conftest import RunningWorker
from tests.wire.worker.fake_router import WAIT_S

FLIPS_PER_HOUR = 2


@dataclass
class Operated:
    """A router and its workers, as an operator meets them."""

    address: str
    stub: Any
    workers: list[RunningWorker] = field(default_factory=list)

    async def start(self, worker_id: str, *engine_args: str, tier: str = "decode", **settings: Any) -> None:
        """A worker, attached."""
        options = {"worker_id": worker_id, "grace_ms": 50, **settings}
        worker = RunningWorker(tier, [self.address], engine_args, options)
        self.workers.append(worker)
        await worker.is_ready()

    async def states(self) -> dict[str, str]:
        """Workers' states by name."""
        fleet = await self.stub.DescribeFleet(operator_pb2.DescribeFleetRequest())
        return {worker.worker_id: worker.state for worker in fleet.workers}


@pytest.fixture
def settings() -> Settings:
    """The router's settings; tests override this."""
    return Settings(
        port=0, canary_interval_ms=0, role_dwell_ms_min=0, role_flips_per_hour_max=FLIPS_PER_HOUR, grace_ms=50
    )


@pytest.fixture
async def mesh(settings: Settings) -> AsyncIterator[Operated]:
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(settings, stop, ready.set_result, CollectorRegistry()))
    async with asyncio.timeout(WAIT_S):
        address = (await ready)["url"]
    channel: grpc.aio.Channel = open_channel(address)
    operated = Operated(address, operator_pb2_grpc.OperatorServiceStub(channel))
    yield operated
    for worker in operated.workers:
        worker.stop.set()
    await asyncio.gather(*(worker.serving for worker in operated.workers))
    await channel.close()
    stop.set()
    await serving
