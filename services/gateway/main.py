"""One gateway process: how it starts and how it ends."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from prometheus_client import REGISTRY, CollectorRegistry

from services.common.background import keep_running
from services.common.credentials.seal import Seal
from services.common.limits import DEFAULTS
from services.common.rpc.tls import check_certificates
from services.common.store import open_store
from services.gateway.gateway import Gateway, Runs
from services.gateway.settings import Settings
from services.gateway.tenants.tenancy import IN_STORE

Ready = Callable[[dict[str, str]], None]


async def serve(
    settings: Settings, stop: asyncio.Event, ready: Ready, registry: CollectorRegistry = REGISTRY
) -> None:
    """Run a gateway until `stop`, then let what is in flight end within the grace time.

    Raises a `Startup` error for whatever prevents the start. Serves as soon as it listens; `/ready` says
    when a router and a model are there.
    """
    async with running(Gateway(settings, DEFAULTS, registry)) as where:
        ready(where)
        await stop.wait()


async def check(settings: Settings) -> None:
    """Read, load and open all that a start needs of this host, and let go of it; raises `Startup`.

    Redis is not asked: a check neither waits for other processes nor changes what they share.
    """
    await open_store(settings.store).close()
    Seal(settings.answers_secret.split())
    check_certificates(settings.mesh.security())
    own_tenants = "" if settings.store and settings.tenants == IN_STORE else settings.tenants
    alone = replace(settings, store="", metrics_port=0, tenants=own_tenants)
    async with AsyncExitStack() as stack:
        await Gateway(alone, DEFAULTS, CollectorRegistry()).open(stack)


@asynccontextmanager
async def running(gateway: Gateway) -> AsyncIterator[dict[str, str]]:
    """Serve while the block runs, and then drain; gives where."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one prompt is no work for a thread pool
    async with AsyncExitStack() as stack:
        await gateway.open(stack)
        where = await gateway.listen()
        async with _all_running(gateway.lasting):
            yield where
            await gateway.drain()


@asynccontextmanager
async def _all_running(parts: Sequence[Runs]) -> AsyncIterator[None]:
    """All parts run while the block does."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(keep_running(type(part).__name__, part.run)) for part in parts]
        yield
        for task in running:
            task.cancel()
