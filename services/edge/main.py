"""One process that is a gateway and its router: what both cost less than two, and end like one."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from prometheus_client import REGISTRY, CollectorRegistry

from services.common.credentials import MeshSettings
from services.common.errors import BadSetting
from services.common.limits import DEFAULTS
from services.edge.session import InnerSession
from services.gateway.gateway import Gateway
from services.gateway.main import check as check_gateway
from services.gateway.main import running
from services.gateway.settings import Settings as GatewaySettings
from services.router.main import Router
from services.router.main import check as check_router
from services.router.settings import Settings as RouterSettings

Ready = Callable[[dict[str, str]], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """Those of both, each with its own names. The gateway's `router` counts for nothing."""

    gateway: GatewaySettings
    router: RouterSettings

    @classmethod
    def of(cls, gateway: GatewaySettings, router: RouterSettings) -> "Settings":
        """With the gateway's word on the mesh for both; raises BadSetting where the router has another."""
        if router.mesh not in (MeshSettings(), gateway.mesh):
            raise BadSetting("the mesh's settings of an edge's router differ from those of its gateway")
        return cls(gateway, replace(router, mesh=gateway.mesh))


async def serve(
    settings: Settings, stop: asyncio.Event, ready: Ready, registry: CollectorRegistry = REGISTRY
) -> None:
    """Run both until `stop`: the gateway drains, then the router."""
    router = Router(settings.router, registry)
    inner = partial(InnerSession, router.shell)
    # Loading the model's tokenizer and parsers may take long: no worker is to come before.
    gateway = Gateway(settings.gateway, DEFAULTS, registry, inner)
    async with router.running() as url, running(gateway) as where:
        ready({**where, "router": url})
        await stop.wait()


async def check(settings: Settings) -> None:
    """Find what would prevent a start of either; raises `Startup`."""
    await check_router(settings.router)
    await check_gateway(settings.gateway)
