"""The life of a worker process: load, check, attach, serve, drain."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry

from services.common.background import keep_running
from services.common.clock import MonotonicClock
from services.common.credentials import Security
from services.common.domain import Registration, Role
from services.common.errors import EngineStartFailed, EngineUnhealthy, MeshError
from services.common.limits import DEFAULTS, Limits
from services.common.rpc import RpcServer
from services.common.rpc.tls import check_certificates
from services.common.telemetry import serve_metrics
from services.common.version import VERSION
from services.worker.attachment import Attachment
from services.worker.deep_health import DeepHealth
from services.worker.engine import Engine
from services.worker.engine_arguments import EngineArguments
from services.worker.factory import create_engine
from services.worker.handoff_host import handoff_host
from services.worker.identity import reachable_address, require_free
from services.worker.load import LoadReporter
from services.worker.metrics import EngineCollector, Metrics
from services.worker.settings import WorkerSettings
from services.worker.shell import Shell

log = logging.getLogger("pdmesh.worker")

Ready = Callable[[dict[str, str]], None]
LAST_WORD_S = 0.05
"""How long after its engine's death a worker stays to send what it has to say."""
SETTLE_S = 1.0
"""How long the engine may take to report the last releases of a leaving worker."""


async def serve_worker(
    role: Role,
    settings: WorkerSettings,
    arguments: EngineArguments,
    stop: asyncio.Event,
    ready: Ready,
    *,
    registry: CollectorRegistry = REGISTRY,
    limits: Limits = DEFAULTS,
) -> None:
    """Run one worker until `stop`, then finish what is in flight within the grace time.

    Calls `ready` once the engine has passed its deep check and a router has accepted the worker. Raises a
    `Startup` error when it cannot start or no router wants it, `EngineUnhealthy` when the engine dies.
    """
    role = settings.first_role(role)
    security = settings.mesh.security()
    engine = create_engine(settings, arguments, role)
    for port in (settings.port, settings.metrics_port):
        require_free(settings.host, port)
    shell = Shell(engine, Metrics(registry))
    try:
        if not await _until(stop, _start(engine, shell, settings)):
            await _serve_loaded(engine, shell, role, settings, security, stop, ready, registry, limits)
    finally:
        await engine.close()


async def check_worker(role: Role, settings: WorkerSettings, arguments: EngineArguments) -> None:
    """Find what would prevent a start, without loading the model; raises `Startup`.

    What vLLM itself says to its arguments is known only when it loads.
    """
    check_certificates(settings.mesh.security())
    await create_engine(settings, arguments, settings.first_role(role)).close()


async def _serve_loaded(
    engine: Engine,
    shell: Shell,
    role: Role,
    settings: WorkerSettings,
    security: Security,
    stop: asyncio.Event,
    ready: Ready,
    registry: CollectorRegistry,
    limits: Limits,
) -> None:
    """Listen only now: a forking engine would inherit the sockets, and hold the ports if we are killed."""
    server = RpcServer((), limits, security)
    try:
        address = reachable_address(settings.host, await server.start(settings.host, settings.port))
        with serve_metrics(settings.metrics_port, settings.host, registry):
            if await _until(stop, _check(engine)):
                return
            registration = _registration(engine, role, settings, address)
            worker = Worker(engine, shell, registration, settings, limits, security)
            registry.register(EngineCollector(lambda: worker.reporter.newest, engine.stats))
            await worker.run(stop, ready, server)
    finally:
        await server.stop(grace_ms=0)


def _registration(engine: Engine, role: Role, settings: WorkerSettings, address: str) -> Registration:
    """A model that gives vectors only ever prefills, whatever the worker was started as."""
    generates = engine.embedding_model is None
    return Registration(
        worker_id=settings.identity(),
        role=role if generates else Role.PREFILL,
        fingerprint=engine.fingerprint,
        capacity=engine.capacity,
        version=VERSION,
        address=address,
        handoff_address=engine.handoff_address,
        role_is_fixed=engine.role_is_fixed or not generates,
        standby=settings.standby,
        can_replay=engine.can_replay,
        adapters=engine.adapters,
        limits_thinking=engine.limits_thinking,
        vocabulary_size=engine.vocabulary_size,
        embedding_model=engine.embedding_model,
        is_shared=len(settings.router_addresses) > 1,
    )


class Worker:
    """A loaded engine and its routers."""

    def __init__(
        self,
        engine: Engine,
        shell: Shell,
        registration: Registration,
        settings: WorkerSettings,
        limits: Limits,
        security: Security,
    ) -> None:
        self._shell = shell
        self._registration = registration
        self._grace_ms = settings.grace_ms
        self.reporter = LoadReporter(engine, settings.load_interval_ms)
        if registration.is_shared:
            shell.divide(registration.capacity)
        self._health = DeepHealth(engine, lambda: shell.steps, settings.deep_check_interval_ms)
        self._attachments = [
            Attachment(
                address,
                registration,
                shell,
                load=self.reporter.refresh,
                limits=limits,
                clock=MonotonicClock(),
                is_only=len(settings.router_addresses) == 1,
                security=security,
            )
            for address in settings.router_addresses
        ]

    async def run(self, stop: asyncio.Event, ready: Ready, server: RpcServer) -> None:
        """Serve until `stop`, then drain; the tasks of all routers live in here."""
        await server.set_serving(True)
        try:
            async with asyncio.TaskGroup() as tasks:
                attached = [tasks.create_task(_lasting("router link", a.run)) for a in self._attachments]
                reporting = partial(self.reporter.run, self._attachments)
                others = [tasks.create_task(_lasting("load reports", reporting))]
                others.append(tasks.create_task(self._watch_engine()))
                checking = tasks.create_task(_lasting("deep check", partial(self._health.run, server)))
                others.append(tasks.create_task(self._announce(ready)))
                await stop.wait()
                checking.cancel()  # a good check must not make a leaving worker ready again
                await server.set_serving(False)
                await self._drain()
                await asyncio.wait(attached)
                for task in others:
                    task.cancel()
        except* MeshError as group:
            raise _first(group) from None

    async def _watch_engine(self) -> None:
        why = await self._shell.engine_death
        for attachment in self._attachments:
            attachment.die()
        await asyncio.sleep(LAST_WORD_S)
        raise EngineUnhealthy(f"the engine died: {why}")

    async def _announce(self, ready: Ready) -> None:
        greetings = [asyncio.create_task(a.greeted.wait()) for a in self._attachments]
        try:
            await asyncio.wait(greetings, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in greetings:
                task.cancel()
        handed_over = self._registration.handoff_address or "nowhere"
        log.info("worker %s serves; KV is handed over at %s", self._registration.worker_id, handed_over)
        role = self._registration.role.name.lower()
        ready({"url": self._registration.address, "worker_id": self._registration.worker_id, "role": role})

    async def _drain(self) -> None:
        """Finish what runs; what does not end within the grace time runs elsewhere."""
        self._shell.stop_taking()
        for attachment in self._attachments:
            attachment.drain()
        if not await self._idle_within(self._grace_ms / 1e3):
            log.warning("grace time over, jobs are given back")
            self._shell.give_up()
            await self._idle_within(SETTLE_S)
        for attachment in self._attachments:
            attachment.leave()

    async def _idle_within(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._shell.idle.wait()
        return self._shell.idle.is_set()


async def _start(engine: Engine, shell: Shell, settings: WorkerSettings) -> None:
    """Load the model, once it is known where KV is to be handed over."""
    await engine.start(shell, await handoff_host(settings))


async def _lasting(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run one of the worker's tasks; an error of the mesh ends the worker, any other is no reason to."""
    await keep_running(name, work, fatal=(MeshError,))


async def _check(engine: Engine) -> None:
    """See the engine generate; raises `EngineStartFailed`."""
    try:
        await engine.check()
    except EngineUnhealthy as error:
        raise EngineStartFailed(f"the engine failed its first check: {error.message}") from error


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Run `work` to its end unless `stop` comes first; whether it came."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.wait((working, stopping))
    if working.cancelled():
        return True
    working.result()
    return False


def _first(group: BaseExceptionGroup[MeshError]) -> MeshError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
