"""One prefill worker: runs prompts and hands their KV over."""

import asyncio

from prometheus_client import REGISTRY, CollectorRegistry

from services.common.domain import Role
from services.common.worker import serve_worker
from services.common.worker.process import Ready
from services.prefill.settings import Settings


async def serve(
    settings: Settings, stop: asyncio.Event, ready: Ready, registry: CollectorRegistry = REGISTRY
) -> None:
    """Run a prefill worker until `stop`, then drain; see `serve_worker`."""
    await serve_worker(
        Role.PREFILL, settings.worker, settings.engine_arguments, stop, ready, registry=registry
    )
