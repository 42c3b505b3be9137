"""One router process."""

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from prometheus_client import REGISTRY, CollectorRegistry

from pdmesh.fleet.v1 import fleet_pb2_grpc
from pdmesh.keda import externalscaler_pb2_grpc
from pdmesh.operator.v1 import operator_pb2_grpc
from pdmesh.router.v1 import router_pb2_grpc
from services.common.clock import Clock, MonotonicClock
from services.common.domain.address import join_address
from services.common.limits import DEFAULTS, Limits
from services.common.rpc import RpcServer
from services.common.rpc.lane import ATTACH, CONNECT
from services.common.rpc.tls import check_certificates
from services.common.store import Store, connect, open_store
from services.common.telemetry import serve_metrics
from services.common.version import VERSION
from services.router.board import Board
from services.router.core import CoreConfig, RouterCore
from services.router.core.placement import Policies
from services.router.core.timing import Timing
from services.router.gateways import GatewayServicer
from services.router.gauges import StateCollector
from services.router.keda import KedaServicer
from services.router.lease import Lease
from services.router.metrics import Metrics
from services.router.notes import RouterNote, note_of
from services.router.operators import OperatorServicer
from services.router.poison import PoisonLog
from services.router.scaling_rules import scaling_config
from services.router.settings import Settings
from services.router.shell import Shell
from services.router.weights import model_versions, tenant_weights
from services.router.workers import WorkerServicer

SERVICES = (
    "pdmesh.router.v1.RouterService",
    "pdmesh.fleet.v1.FleetService",
    "pdmesh.operator.v1.OperatorService",
    "pdmesh.lane.v1.LaneService",
    "externalscaler.ExternalScaler",
)
Ready = Callable[[dict[str, str]], None]


def core_config(settings: Settings, clock: Clock) -> CoreConfig:
    """The core's configuration from the process's."""
    limits = replace(
        DEFAULTS,
        queue_requests_max=settings.queue_requests_max,
        queue_wait_ms_max=settings.queue_wait_ms_max,
        retries_per_request_max=settings.retries_per_request_max,
    )
    return CoreConfig(
        limits=limits,
        local_prompt_tokens_max=settings.local_prompt_tokens_max,
        expected_output_tokens=settings.expected_output_tokens,
        prefill_timeout_ms=settings.prefill_timeout_ms,
        stall_timeout_ms=settings.stall_timeout_ms,
        canary_interval_ms=settings.canary_interval_ms,
        role_dwell_ms_min=settings.role_dwell_ms_min,
        role_flips_per_hour_max=settings.role_flips_per_hour_max,
        learns_threshold=settings.learns_threshold,
        ageing_ms=settings.ageing_ms,
        model_versions=model_versions(settings.model_version),
        tenant_weights=tenant_weights(settings.tenant_weight),
        scaling=scaling_config(
            settings.prefill_scaling,
            settings.decode_scaling,
            acts=settings.autoscale,
            rebalances=settings.rebalance,
            interval_ms=settings.scaling_interval_ms,
            clock=clock,
        ),
    )


class Router:
    """One router: all of it but its connections, until it is `running`."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self._settings, self._registry = settings, registry
        self._clock = clock = MonotonicClock()
        self._config = core_config(settings, clock)
        timing = Timing(time.perf_counter) if settings.times_policies else None
        core = RouterCore(self._config, Policies.of(self._config, timing))
        self.shell = Shell(core, clock, Metrics(registry), PoisonLog(settings.quarantine_dir))
        self._id = settings.router_id or f"router-{socket.gethostname()}-{os.getpid()}"
        self._board: Board | None = None
        gauges = StateCollector(
            core.state, core.scaling, clock.now_ms, self._store_is_away, self.shell.given_up.current
        )
        registry.register(gauges)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve while the block runs, and then drain; gives where gateways and workers find it."""
        settings, shell = self._settings, self.shell
        store = await connect(settings.store)
        board = self._board = self._make_board(store)
        server = _server(shell, board, self._id, settings, self._config.limits, self._clock)
        try:
            port = await server.start(settings.host, settings.port)
            with serve_metrics(settings.metrics_port, settings.host, self._registry):
                async with asyncio.TaskGroup() as tasks:
                    lasting = [tasks.create_task(shell.tick())]
                    if settings.store:  # without it the router is alone, and scales the fleet alone
                        lasting.append(tasks.create_task(board.run()))
                    await server.set_serving(True)
                    yield join_address(settings.host, port)
                    await server.set_serving(False)
                    shell.leave()
                    await board.leave()
                    await _drain(shell, settings.grace_ms)
                    for task in lasting:
                        task.cancel()
        finally:
            await server.stop(grace_ms=0)
            await store.close()

    def _store_is_away(self) -> bool:
        return self._board is not None and self._board.is_away

    def _make_board(self, store: Store) -> Board:
        core, run = self.shell.core, f"{self._id}/{secrets.token_hex(8)}"

        def note() -> RouterNote:
            now_ms = self._clock.now_ms()
            return note_of(core.state, core.scaling.report(run, self._id, now_ms), now_ms)

        return Board(store, note, Lease(store, run, self._clock), self._clock, self.shell.feed)


async def serve(
    settings: Settings, stop: asyncio.Event, ready: Ready, registry: CollectorRegistry = REGISTRY
) -> None:
    """Run a router until `stop`, then let what is in flight end within the grace time."""
    async with Router(settings, registry).running() as url:
        ready({"url": url})
        await stop.wait()


async def check(settings: Settings) -> None:
    """Find what would prevent a start, without asking Redis; raises `Startup`."""
    await open_store(settings.store).close()
    check_certificates(settings.mesh.security())
    Router(settings, CollectorRegistry())


def _server(
    shell: Shell, board: Board, router_id: str, settings: Settings, limits: Limits, clock: MonotonicClock
) -> RpcServer:
    server = RpcServer(SERVICES, limits, settings.mesh.security())
    gateways = GatewayServicer(shell, router_id, VERSION, limits)
    router_pb2_grpc.add_RouterServiceServicer_to_server(gateways, server.server)
    workers = WorkerServicer(shell, router_id, limits)
    fleet_pb2_grpc.add_FleetServiceServicer_to_server(workers, server.server)
    if settings.lane_port >= 0:
        server.offer_lanes({CONNECT: gateways.Connect, ATTACH: workers.Attach}, settings.lane_port)
    operators = OperatorServicer(shell, router_id, clock, limits, board)
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(operators, server.server)
    keda = KedaServicer(shell.core.scaling, clock, limits)
    externalscaler_pb2_grpc.add_ExternalScalerServicer_to_server(keda, server.server)
    return server


async def _drain(shell: Shell, grace_ms: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(grace_ms / 1000.0):
            await shell.idle.wait()
