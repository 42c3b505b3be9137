"""One gateway process: what it is made of, how it starts and how it ends."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from prometheus_client import REGISTRY, CollectorRegistry

from pdmesh.router.v1 import router_pb2
from services.common.clock import Clock, MonotonicClock
from services.common.limits import DEFAULTS, Limits
from services.common.store import open_journal
from services.common.telemetry import serve_metrics
from services.common.version import VERSION
from services.gateway.accounting import Accounting
from services.gateway.api import Api
from services.gateway.embeddings import Embedder
from services.gateway.generate import Generator
from services.gateway.http import HttpServer
from services.gateway.idempotency import Idempotency
from services.gateway.inference import InferenceServer, InferenceServicer
from services.gateway.metrics import Metrics
from services.gateway.models import Models, load_kit
from services.gateway.openai.errors import error_response
from services.gateway.pipeline import Parts, Pipeline
from services.gateway.retrieval.retrieval import open_retrieval
from services.gateway.routers import Routers
from services.gateway.routing import ModelsFile, Routes
from services.gateway.settings import Settings
from services.gateway.tenants.tenancy import Tenancy
from services.gateway.tls import Tls
from services.gateway.tokenizing import Tokenizing

RENDER_THREADS = 2
"""Threads for long prompts; tokenising is one core's work each."""

Ready = Callable[[dict[str, str]], None]


async def serve(
    settings: Settings, stop: asyncio.Event, ready: Ready, registry: CollectorRegistry = REGISTRY
) -> None:
    """Run a gateway until `stop`, then let what is in flight end within the grace time.

    Raises a `Startup` error for whatever prevents the start. Serves as soon as it listens; `/ready` says
    when a router and a model are there.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one prompt is no work for a thread pool
    clock, limits, metrics = MonotonicClock(), DEFAULTS, Metrics(registry)
    session = _routers(settings, limits, clock)
    models = _models(settings, session)
    tls = Tls(settings.tls)
    async with AsyncExitStack() as stack:
        stack.enter_context(serve_metrics(settings.metrics_port, settings.host))
        threads = stack.enter_context(ThreadPoolExecutor(RENDER_THREADS, "render"))
        default = settings.chat_max_tokens_default
        routes = Routes(models)
        models.listing = routes.listed
        models_file = ModelsFile(settings.models_file, routes, models, limits)
        await models_file.load()
        accounting = Accounting(settings, _greeting(settings).gateway_id, clock, registry)
        stack.push_async_callback(accounting.close)
        retrieval = open_retrieval(settings.retrieval, settings.mesh.security(), registry, clock)
        stack.push_async_callback(retrieval.close)
        parts = Parts(routes, retrieval, accounting.quotas, accounting.meter)
        pipeline = Pipeline(session, models, threads, metrics, clock, parts, chat_max_tokens_default=default)
        tenancy = await stack.enter_async_context(
            Tenancy(settings.tenants, settings.jwt, settings.store, registry, clock)
        )
        generator = Generator(pipeline, metrics, limits, clock)
        embedder = Embedder(session, models, threads, metrics, limits, clock, parts)
        idempotency = _idempotency(settings, limits, clock, metrics)
        stack.push_async_callback(idempotency.close)
        api = Api(
            generator,
            embedder,
            models,
            metrics,
            limits,
            clock,
            tenancy.authenticator,
            idempotency=idempotency,
            tokenizing=Tokenizing(pipeline, models, threads, limits),
            usage=accounting.report,
            metrics_for_admins=settings.metrics_for_admins,
        )
        server = await stack.enter_async_context(HttpServer(api, error_response, limits=limits, clock=clock))
        inference = InferenceServer(
            InferenceServicer(
                pipeline, models, threads, tenancy.authenticator, idempotency, metrics, limits, clock
            ),
            models,
            limits,
            settings.tls.security(),
            reuse_port=settings.reuse_port,
        )
        stack.push_async_callback(inference.drain, 0)
        metrics.watch(
            streams=lambda: session.stream_count,
            connections=lambda: server.connection_count,
            paused=lambda: server.paused_count,
            attached=lambda: float(session.is_attached),
            kept_bytes=lambda: idempotency.held_bytes,
        )
        port = await server.listen(
            settings.host, settings.port, reuse_port=settings.reuse_port, tls=tls.context
        )
        grpc_port = await inference.listen(settings.host, settings.own_grpc_port)
        running = (session, tenancy, tls, idempotency, inference, models_file, accounting)
        async with _running(running):
            url = f"{'https' if tls.context else 'http'}://{settings.host}:{port}"
            ready({"url": url, "grpc": f"{settings.host}:{grpc_port}"})
            await stop.wait()
            api.is_leaving = True
            await asyncio.gather(server.drain(settings.grace_ms), inference.drain(settings.grace_ms))


class _Runs(Protocol):
    async def run(self) -> None:
        """Do what there is to do in the background, until cancelled."""


@asynccontextmanager
async def _running(parts: Sequence[_Runs]) -> AsyncIterator[None]:
    """All parts run while the block does; what ends one of them ends it too."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(part.run()) for part in parts]
        yield
        for task in running:
            task.cancel()


def _models(settings: Settings, session: Routers) -> Models:
    kit = load_kit(settings.model, settings.tool_call_parser, settings.reasoning_parser)
    return Models(session, kit, settings.served_model_name)


def _routers(settings: Settings, limits: Limits, clock: Clock) -> Routers:
    return Routers(
        settings.router,
        _greeting(settings),
        resume_wait_ms=settings.resume_wait_ms,
        limits=limits,
        clock=clock,
        security=settings.mesh.security(),
    )


def _idempotency(settings: Settings, limits: Limits, clock: Clock, metrics: Metrics) -> Idempotency:
    return Idempotency(
        error_response,
        limits,
        clock,
        metrics.idempotent,
        header=settings.idempotency_header,
        journal=open_journal(settings.store, kept_ttl_ms=limits.idempotency_ttl_ms),
        linger_ms=settings.idempotency_linger_ms,
        fails_open=settings.store_failure == "open",
    )


def _greeting(settings: Settings) -> router_pb2.GatewayGreeting:
    gateway_id = settings.gateway_id or f"gateway-{socket.gethostname()}-{os.getpid()}"
    return router_pb2.GatewayGreeting(gateway_id=gateway_id, version=VERSION)
