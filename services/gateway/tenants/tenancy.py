"""All that knows callers, put together from the gateway's settings."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from prometheus_client import CollectorRegistry

from services.common.background import keep_running
from services.common.clock import Clock
from services.common.credentials import JwtSettings
from services.common.errors import BadSetting
from services.common.store import connect
from services.gateway.tenants.authenticator import Authenticator
from services.gateway.tenants.caller import Caller
from services.gateway.tenants.internals import EVERYBODY
from services.gateway.tenants.live import LiveTenants
from services.gateway.tenants.metrics import Metrics
from services.gateway.tenants.source import FileSource, Source, StoreSource

if TYPE_CHECKING:
    from services.gateway.tenants.token import TokenVerifier

IN_STORE = "redis"
"""The value of `--tenants` that means the store rather than a file."""

Follow = Callable[[], Coroutine[Any, Any, None]]


class Tenancy:
    """Reads tenants and keys when it is entered (raises `BadSetting`); `run` follows their changes."""

    def __init__(
        self,
        tenants: str,
        jwt: JwtSettings,
        store: str,
        registry: CollectorRegistry,
        clock: Clock,
        internals_for: str = EVERYBODY,
    ) -> None:
        self._tenants, self._jwt, self._store = tenants, jwt, store
        self._metrics, self._clock = Metrics(registry), clock
        self._internals_for = internals_for
        self._follow: list[Follow] = []
        self._stack = AsyncExitStack()
        self._live: LiveTenants | None = None
        self.authenticator = Authenticator(None, None, self._metrics, internals_for)
        """Knows everybody once this has been entered."""

    async def __aenter__(self) -> Self:
        try:
            tenants = await self._live_tenants() if self._tenants else None
            tokens = await self._verifier() if self._jwt.jwks else None
        except BaseException:
            await self._stack.aclose()
            raise
        self.authenticator = Authenticator(tenants, tokens, self._metrics, self._internals_for)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def callers(self) -> Iterable[Caller]:
        """All tenants of the file, as they are at present."""
        return () if self._live is None else self._live.current.callers.values()

    async def run(self) -> None:
        """Follow what changes until cancelled; returns at once where nothing can."""
        async with asyncio.TaskGroup() as tasks:
            for follow in self._follow:
                tasks.create_task(keep_running("tenants and keys", follow))

    async def _live_tenants(self) -> LiveTenants:
        tenants = LiveTenants(await self._source(), self._metrics)
        await tenants.load()
        self._follow.append(tenants.run)
        self._live = tenants
        return tenants

    async def _source(self) -> Source:
        if self._tenants != IN_STORE:
            return FileSource(self._tenants)
        if not self._store:
            raise BadSetting("--tenants redis needs --store")
        store = await connect(self._store)
        self._stack.push_async_callback(store.close)
        return StoreSource(store)

    async def _verifier(self) -> "TokenVerifier":
        from services.gateway.tenants.live_keys import LiveKeys
        from services.gateway.tenants.token import TokenVerifier  # cryptography, which keys do not need

        keys = LiveKeys(self._jwt.jwks, self._metrics, self._clock)
        await keys.load()
        self._follow.append(keys.run)
        return TokenVerifier(self._jwt, keys)
