"""Workers of the sim engine, in process, on free ports."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.worker import EngineArguments, WorkerSettings
from tests.wire.worker.fake_router import WAIT_S, FakeRouter, fake_router

INSTANT = ("profile=instant", "block-size=4", "kv-blocks=256", "max-model-len=512", "max-num-seqs=64")


class RunningWorker:
    """One worker, and how to stop it."""

    def __init__(
        self, tier: str, routers: list[str], engine_args: tuple[str, ...], settings: dict[str, Any]
    ) -> None:
        service = importlib.import_module(f"services.{tier}.settings")
        serve = importlib.import_module(f"services.{tier}.main").serve
        self.registry = CollectorRegistry()
        self.stop = asyncio.Event()
        self.ready: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        worker = WorkerSettings(model="sim", engine="sim", routers=tuple(routers), **settings)
        everything = service.Settings(
            worker=worker, engine_arguments=EngineArguments(engine_arg=INSTANT + engine_args)
        )
        self.serving = asyncio.create_task(serve(everything, self.stop, self.ready.set_result, self.registry))

    async def is_ready(self) -> dict[str, str]:
        async with asyncio.timeout(WAIT_S):
            await asyncio.wait((self.serving, self.ready), return_when=asyncio.FIRST_COMPLETED)
        if self.serving.done():
            self.serving.result()
        return self.ready.result()

    async def end(self) -> None:
        self.stop.set()
        async with asyncio.timeout(WAIT_S):
            await self.serving

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def router() -> AsyncIterator[FakeRouter]:
    async with fake_router() as listening:
        yield listening


StartWorker = Callable[..., RunningWorker]


@pytest.fixture
async def start() -> AsyncIterator[StartWorker]:
    """`start(router addresses, *engine arguments, tier, **settings)`; what runs at the end is stopped."""
    async with AsyncExitStack() as stack:

        def start_worker(
            routers: list[str], *engine_args: str, tier: str = "decode", **settings: Any
        ) -> RunningWorker:
            worker = RunningWorker(tier, routers, engine_args, {"grace_ms": 50, **settings})
            stack.push_async_callback(_stopped, worker)
            return worker

        yield start_worker


async def _stopped(worker: RunningWorker) -> None:
    worker.stop.set()
    await asyncio.wait([worker.serving])
