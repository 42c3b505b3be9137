"""One process that is a gateway and its router: what both cost less than two, and end like one."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from prometheus_client import REGISTRY, CollectorRegistry

from services.common.errors import BadSetting
from services.edge.session import InnerSession
from services.gateway.main import running as running_gateway
from services.gateway.settings import ROUTERS_DEFAULT
from services.gateway.settings import Settings as GatewaySettings
from services.router.main import running as running_router
from services.router.settings import Settings as RouterSettings

Ready = Callable[[dict[str, str]], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """Those of both, each with its own names."""

    gateway: GatewaySettings
    router: RouterSettings

    def __post_init__(self) -> None:
        if self.gateway.router != ROUTERS_DEFAULT:
            raise BadSetting("--router: the router of this gateway is in its own process")


async def serve(
    settings: Settings, stop: asyncio.Event, ready: Ready, registry: CollectorRegistry = REGISTRY
) -> None:
    """Run both until `stop`: the gateway drains, then the router."""
    async with running_router(settings.router, registry) as router:
        inner = partial(InnerSession, router.shell)
        async with running_gateway(settings.gateway, registry, inner) as where:
            ready({**where, "router": router.url})
            await stop.wait()
