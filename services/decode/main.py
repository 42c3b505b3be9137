"""One decode worker: takes KV over and generates."""

import asyncio

from prometheus_client import REGISTRY, CollectorRegistry

from services.common.domain import Role
from services.decode.settings import Settings
from services.worker import check_worker, serve_worker
from services.worker.process import Ready


async def serve(
    settings: Settings, stop: asyncio.Event, ready: Ready, registry: CollectorRegistry = REGISTRY
) -> None:
    """Run a decode worker until `stop`, then drain; see `serve_worker`."""
    await serve_worker(
        Role.DECODE, settings.worker, settings.engine_arguments, stop, ready, registry=registry
    )


async def check(settings: Settings) -> None:
    """Find what would prevent a start, without loading the model; raises `Startup`."""
    await check_worker(Role.DECODE, settings.worker, settings.engine_arguments)
