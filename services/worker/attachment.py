"""Keeps a worker attached to one router for as long as the worker lives."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Any

import grpc.aio

from services.common.clock import Clock
from services.common.credentials import OPEN, Security
from services.common.domain import LoadReport, Registration
from services.common.errors import BadSetting, MeshError, RegistrationRefused, Unauthenticated
from services.common.limits import Limits
from services.common.rpc import LinkLost, error_from_rpc
from services.common.rpc.lane import ATTACH, open_stream
from services.worker.session import RouterSession
from services.worker.shell import Shell

log = logging.getLogger("pdmesh.worker")

RETRY_MS_MIN = 100.0
RETRY_MS_MAX = 2_000.0


class Attachment:
    """One router's address, and the session with it, if there is one."""

    def __init__(
        self,
        address: str,
        registration: Registration,
        shell: Shell,
        *,
        load: Callable[[], LoadReport],
        limits: Limits,
        clock: Clock,
        chance: random.Random | None = None,
        is_only: bool = True,
        security: Security = OPEN,
    ) -> None:
        self._address = address
        self._registration = registration
        self._shell = shell
        self._load = load
        self._is_only = is_only
        self._security = security
        self._limits, self._clock = limits, clock
        self._chance = chance or random.Random()
        self._session: RouterSession | None = None
        self._leaving = asyncio.Event()
        self._draining = False
        self.greeted = asyncio.Event()
        """Set once the router has accepted this worker for the first time."""

    async def run(self) -> None:
        """Attach, and attach again whenever the router was lost; returns after `leave`.

        Raises RegistrationRefused when the only router does not want this worker; where others do, it
        goes on asking, because ending the process would end their requests.
        """
        retry_ms = RETRY_MS_MIN
        while not self._leaving.is_set():
            lost, was_greeted = await self._attach()
            if lost is None or self._draining:
                return  # what the session had is gone, and nothing new is wanted
            retry_ms = RETRY_MS_MIN if was_greeted else min(retry_ms * 2, RETRY_MS_MAX)
            log.warning("router %s lost: %s", self._address, lost, extra={"router": self._address})
            await self._pause(retry_ms * self._chance.uniform(0.5, 1.0))

    @property
    def load_interval_ms(self) -> int | None:
        """How often the router wants to hear of the load; None while there is no router."""
        greeting = self._session.greeting if self._session is not None else None
        return greeting.load_interval_ms if greeting is not None else None

    def report(self, load: LoadReport) -> None:
        """Tell the router what the engine holds, if it is there."""
        if self._session is not None:
            self._session.report(load)

    def die(self) -> None:
        """Let the router know which of its jobs were here when the engine died."""
        if self._session is not None:
            self._session.die()

    def drain(self) -> None:
        """Tell the router that the worker leaves, and attach to it no more."""
        self._draining = True
        if self._session is None or self._session.greeting is None:
            self.leave()
        else:
            self._session.drain()

    def leave(self) -> None:
        """Send what waits, then end the session."""
        self._leaving.set()
        if self._session is not None:
            self._session.link.close()

    async def _attach(self) -> tuple[Exception | None, bool]:
        """One session from its beginning to its end: why it was lost, and whether it ever worked."""
        was_greeted, lost = False, None
        try:
            async with open_stream(self._address, ATTACH, self._limits, self._security) as call:
                lost, was_greeted = await self._attached(call)
        except grpc.aio.AioRpcError as error:  # nobody there
            lost = error_from_rpc(error)
        except BadSetting as error:  # certificates that are just being replaced
            lost = error
        if isinstance(lost, RegistrationRefused | Unauthenticated) and self._is_only:
            raise RegistrationRefused(f"router {self._address}: {lost.message}")
        return lost, was_greeted

    async def _attached(self, call: Any) -> tuple[Exception | None, bool]:
        """The same, over a call; none any more if the worker has begun to leave while it was opened."""
        if self._leaving.is_set():
            return None, False
        session = RouterSession(
            call,
            self._shell,
            self._registration,
            limits=self._limits,
            clock=self._clock,
            on_greeted=self.greeted.set,
        )
        self._session = session
        session.report(self._load())
        lost: Exception | None = None
        try:
            await session.link.run(session.on_frame)
        except (LinkLost, MeshError, grpc.aio.AioRpcError) as error:
            lost = await _cause(call, error)
        finally:
            self._session = None
            self._shell.end(session)
        return lost, session.greeting is not None

    async def _pause(self, pause_ms: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_ms / 1e3):
                await self._leaving.wait()


async def _cause(call: "grpc.aio.StreamStreamCall", error: Exception) -> Exception:
    """Why a session ended: the router's own status where there is one, because a write fails without it."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error_from_rpc(error)
    if isinstance(error, LinkLost) and call.done():
        with contextlib.suppress(grpc.aio.AioRpcError):
            status = grpc.aio.AioRpcError(
                await call.code(),
                await call.initial_metadata(),
                await call.trailing_metadata(),
                await call.details(),
            )
            return error_from_rpc(status)
    return error
