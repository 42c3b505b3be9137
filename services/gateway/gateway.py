"""What one gateway is made of, and how its parts hold together."""

import asyncio
import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Protocol

from prometheus_client import CollectorRegistry

from pdmesh.router.v1 import router_pb2
from services.common.clock import MonotonicClock
from services.common.domain.address import join_address
from services.common.limits import Limits
from services.common.store import open_journal
from services.common.telemetry import serve_metrics
from services.common.version import VERSION
from services.gateway.accounts.accounting import Accounting
from services.gateway.call.fair_threads import FairThreads
from services.gateway.call.metrics import Objectives
from services.gateway.call.pipeline import Parts, Pipeline
from services.gateway.grpc import InferenceServer, InferenceServicer
from services.gateway.grpc.doorkeeper import Doorkeeper
from services.gateway.http import HttpServer
from services.gateway.http.tls import Tls
from services.gateway.idempotency import Idempotency
from services.gateway.links.routers import Inner, Routers
from services.gateway.loop_lag import LoopLag
from services.gateway.metrics import Metrics
from services.gateway.models.metrics import TokenizerMetrics
from services.gateway.models.routing import ModelsFile, Routes
from services.gateway.models.served import Models, load_kit
from services.gateway.request_files import request_files
from services.gateway.rest.api import Api
from services.gateway.rest.body_reader import BodyReader
from services.gateway.rest.cors import Cors
from services.gateway.rest.embeddings import Embedder
from services.gateway.rest.generate import Generator
from services.gateway.rest.openai.errors import error_response
from services.gateway.rest.responses.door import ResponsesDoor
from services.gateway.rest.responses.kept import KeptResponses
from services.gateway.rest.tokenizing import Tokenizing
from services.gateway.retrieval.retrieval import open_retrieval
from services.gateway.settings import Settings
from services.gateway.shared_room import SharedRoom
from services.gateway.tenants.tenancy import Tenancy
from services.gateway.tracing import tracing

WORK_THREADS = 3
"""Threads for long bodies and prompts, of which long ones get all but one."""

MIB = 1024 * 1024


class Runs(Protocol):
    """A part that has something to do in the background."""

    async def run(self) -> None:
        """Do it, until cancelled."""


class Gateway:
    """All parts of one gateway: `open`, then `listen`, have `lasting` run, and at the end `drain`."""

    def __init__(
        self, settings: Settings, limits: Limits, registry: CollectorRegistry, inner: Inner | None = None
    ) -> None:
        """Raises a `Startup` error for a model or certificates that are not there."""
        self._settings, self._limits, self._registry = settings, limits, registry
        slo = settings.slo
        self._clock = MonotonicClock()
        self._metrics = Metrics(registry, Objectives(slo.ttft_ms, slo.tpot_ms, slo.e2e_ms))
        self._gateway_id = settings.gateway_id or f"gateway-{socket.gethostname()}-{os.getpid()}"
        self._session = self._make_session(inner)
        kit = load_kit(settings.model, settings.tool_call_parser, settings.reasoning_parser)
        self._models = Models(self._session, kit, settings.served_model_name)
        TokenizerMetrics(self._models.encoders, registry)
        self._tls = Tls(settings.tls)
        self._bodies = SharedRoom(limits.bodies_size_bytes_max)

    async def open(self, stack: AsyncExitStack) -> None:
        """Make the parts; the stack closes them in reverse. Raises a `Startup` error."""
        settings, clock, registry = self._settings, self._clock, self._registry
        stack.enter_context(serve_metrics(settings.metrics_port, settings.host))
        self._keep_records(stack)
        pool = stack.enter_context(ThreadPoolExecutor(WORK_THREADS, "prompts"))
        room = SharedRoom(self._limits.rendering_size_bytes_max)
        self._threads = FairThreads(pool, WORK_THREADS, room, clock)
        parts = await self._open_parts(stack)
        self._tenancy = await stack.enter_async_context(
            Tenancy(settings.tenants, settings.jwt, settings.store, registry, clock, settings.internals_for)
        )
        self._accounting.watch(self._tenancy.callers)
        self._idempotency = self._make_idempotency()
        stack.push_async_callback(self._idempotency.close)
        self._responses = KeptResponses(settings.store, self._limits, clock, settings.answers_secret.split())
        stack.push_async_callback(self._responses.close)
        await self._open_servers(stack, parts)

    def _keep_records(self, stack: AsyncExitStack) -> None:
        """Keep the request log on disk, and send traces, where they are wanted."""
        settings, lost, own_id = self._settings, self._metrics.records, self._gateway_id
        size_max = settings.request_log_size_mib_max * MIB
        stack.enter_context(request_files(settings.request_log_dir, own_id, size_max, lost.lines_lost))
        stack.enter_context(tracing(settings.tracing, own_id, lost.spans_lost))

    async def _open_parts(self, stack: AsyncExitStack) -> Parts:
        """What the pipeline asks: names of models, passages, quotas and a meter."""
        settings, clock, registry = self._settings, self._clock, self._registry
        routes = Routes(self._models)
        self._models.listing = routes.listed
        self._models_file = ModelsFile(settings.models_file, routes, self._models, self._limits)
        await self._models_file.load()
        self._accounting = Accounting(settings, self._gateway_id, clock, registry)
        stack.push_async_callback(self._accounting.close)
        retrieval = open_retrieval(settings.retrieval, settings.mesh.security(), registry, clock)
        stack.push_async_callback(retrieval.close)
        return Parts(routes, retrieval, self._accounting.quotas, self._accounting.meter)

    async def _open_servers(self, stack: AsyncExitStack, parts: Parts) -> None:
        limits, clock = self._limits, self._clock
        pipeline = Pipeline(
            self._session,
            self._models,
            self._threads,
            self._metrics,
            clock,
            parts,
            chat_max_tokens_default=self._settings.chat_max_tokens_default,
            control_tokens=self._settings.control_tokens,
        )
        self._api = self._make_api(pipeline, parts)
        server = HttpServer(
            self._api, error_response, limits=limits, clock=clock, admit=self._api.admit, room=self._bodies
        )
        self._server = await stack.enter_async_context(server)
        self._inference = self._make_inference(pipeline)
        stack.push_async_callback(self._inference.drain, 0)
        self._metrics.watch(
            streams=lambda: self._session.stream_count,
            connections=lambda: self._server.connection_count,
            paused=lambda: self._server.paused_count,
            attached=lambda: float(self._session.is_attached),
            kept_bytes=lambda: self._idempotency.held_bytes,
            bodies_bytes=lambda: self._bodies.held_bytes,
            rendering_bytes=lambda: self._threads.held_bytes,
        )

    async def listen(self) -> dict[str, str]:
        """Take requests; returns where. Raises `PortInUse`."""
        settings, context = self._settings, self._tls.context
        port = await self._server.listen(
            settings.host, settings.port, reuse_port=settings.reuse_port, tls=context
        )
        grpc_port = await self._inference.listen(settings.host, settings.own_grpc_port)
        url = f"{'https' if context else 'http'}://{join_address(settings.host, port)}"
        return {"url": url, "grpc": join_address(settings.host, grpc_port)}

    @property
    def lasting(self) -> Sequence[Runs]:
        """Parts that must run while the gateway serves."""
        return (
            self._session,
            self._tenancy,
            self._tls,
            self._idempotency,
            self._responses,
            self._inference,
            self._models_file,
            self._accounting,
            LoopLag(self._metrics, self._clock),
        )

    async def drain(self) -> None:
        """Take no more requests, and let what is in flight end within the grace time."""
        self._api.is_leaving = True
        grace_ms = self._settings.grace_ms
        await asyncio.gather(self._server.drain(grace_ms), self._inference.drain(grace_ms))

    # Parts that need many others.

    def _make_session(self, inner: Inner | None) -> Routers:
        return Routers(
            self._settings.router,
            router_pb2.GatewayGreeting(gateway_id=self._gateway_id, version=VERSION),
            resume_wait_ms=self._settings.resume_wait_ms,
            limits=self._limits,
            clock=self._clock,
            security=self._settings.mesh.security(),
            inner=inner,
        )

    def _make_idempotency(self) -> Idempotency:
        settings, ttl_ms = self._settings, self._limits.idempotency_ttl_ms
        return Idempotency(
            error_response,
            self._limits,
            self._clock,
            self._metrics.idempotent,
            header=settings.idempotency_header,
            journal=open_journal(settings.store, kept_ttl_ms=ttl_ms, secrets=settings.answers_secret.split()),
            linger_ms=settings.idempotency_linger_ms,
            fails_open=settings.store_failure == "open",
        )

    def _make_api(self, pipeline: Pipeline, parts: Parts) -> Api:
        models, metrics, limits, clock = self._models, self._metrics, self._limits, self._clock
        bodies = BodyReader(self._threads, limits)
        generator = Generator(pipeline, bodies, limits, clock)
        tokenizing = Tokenizing(pipeline, models, self._threads, bodies)
        return Api(
            generator,
            Embedder(self._session, models, self._threads, bodies, metrics, limits, clock, parts),
            models,
            metrics,
            limits,
            clock,
            self._tenancy.authenticator,
            idempotency=self._idempotency,
            tokenizing=tokenizing,
            responses=ResponsesDoor(generator, bodies, tokenizing, self._responses),
            usage=self._accounting.report,
            cors=Cors(self._settings.cors_origin),
            quotas=parts.quotas,
        )

    def _make_inference(self, pipeline: Pipeline) -> InferenceServer:
        servicer = InferenceServicer(
            pipeline,
            self._models,
            self._threads,
            self._tenancy.authenticator,
            self._idempotency,
            self._metrics,
            self._limits,
            self._clock,
        )
        settings = self._settings
        return InferenceServer(
            servicer,
            self._models,
            self._limits,
            settings.tls.security(),
            Doorkeeper(self._tenancy.authenticator, pipeline.quotas, self._metrics, self._clock),
            reuse_port=settings.reuse_port,
        )
