"""One gateway process: what it is made of, how it starts and how it ends."""

import asyncio
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

from prometheus_client import REGISTRY, CollectorRegistry

from pdmesh.router.v1 import router_pb2
from services.common.clock import MonotonicClock
from services.common.limits import DEFAULTS
from services.common.telemetry import serve_metrics
from services.common.version import VERSION
from services.gateway.api import Api
from services.gateway.generate import Generator
from services.gateway.http import HttpServer
from services.gateway.metrics import Metrics
from services.gateway.models import Models
from services.gateway.openai.errors import error_response
from services.gateway.pipeline import Parts, Pipeline
from services.gateway.rendering import ModelFiles, Renderer, model_directory
from services.gateway.router_session import RouterSession
from services.gateway.settings import Settings

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
    renderer = Renderer(ModelFiles.read(model_directory(settings.model)))
    clock, limits, metrics = MonotonicClock(), DEFAULTS, Metrics(registry)
    session = RouterSession(
        settings.router,
        _greeting(settings),
        resume_wait_ms=settings.resume_wait_ms,
        limits=limits,
        clock=clock,
    )
    models = Models(session, renderer, settings.served_model_name)
    async with AsyncExitStack() as stack:
        stack.enter_context(serve_metrics(settings.metrics_port, settings.host))
        threads = stack.enter_context(ThreadPoolExecutor(RENDER_THREADS, "render"))
        default = settings.chat_max_tokens_default
        pipeline = Pipeline(
            session, models, threads, metrics, clock, Parts(), chat_max_tokens_default=default
        )
        generator = Generator(pipeline, metrics, limits, clock)
        api = Api(generator, models, metrics, limits, clock)
        server = await stack.enter_async_context(HttpServer(api, error_response, limits=limits, clock=clock))
        metrics.watch(
            streams=lambda: session.stream_count,
            connections=lambda: server.connection_count,
            paused=lambda: server.paused_count,
            attached=lambda: float(session.is_attached),
        )
        port = await server.listen(settings.host, settings.port, reuse_port=settings.reuse_port)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(session.run())
            ready({"url": f"http://{settings.host}:{port}"})
            await stop.wait()
            api.is_leaving = True
            await server.drain(settings.grace_ms)
            running.cancel()


def _greeting(settings: Settings) -> router_pb2.GatewayGreeting:
    gateway_id = settings.gateway_id or f"gateway-{socket.gethostname()}-{os.getpid()}"
    return router_pb2.GatewayGreeting(gateway_id=gateway_id, version=VERSION)
