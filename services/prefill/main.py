"""One prefill worker: runs prompts and hands their KV over."""

import asyncio

from prometheus_client import REGISTRY, CollectorRegistry

from services.common.domain import Role
from services.prefill.settings import Settings
from services.worker import check_worker, serve_worker
from services.worker.process import Ready


async def serve(
    settings: Settings, stop: asyncio.Event, ready: Ready, registry: CollectorRegistry = REGISTRY
) -> None:
    """Run a prefill worker until `stop`, then drain; see `serve_worker`."""
    await serve_worker(
        Role.PREFILL, settings.worker, settings.engine_arguments, stop, ready, registry=registry
    )


async def check(settings: Settings) -> None:
    """Find what would prevent a start, without loading the model; raises `Startup`."""
    await check_worker(Role.PREFILL, settings.worker, settings.engine_arguments)
