"""One retriever process."""

import asyncio
from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry

from pdmesh.retrieval.v1 import retriever_pb2_grpc
from services.common.domain.address import join_address
from services.common.limits import DEFAULTS
from services.common.rpc import RpcServer
from services.common.rpc.tls import check_certificates
from services.common.telemetry import serve_metrics
from services.retriever.embedding import open_embedder
from services.retriever.library import Library
from services.retriever.servicer import RetrieverServicer
from services.retriever.settings import Settings
from services.retriever.vector_store import VectorStore

SERVICE = "pdmesh.retrieval.v1.RetrieverService"
Ready = Callable[[dict[str, str]], None]


async def serve(
    settings: Settings, stop: asyncio.Event, ready: Ready, registry: CollectorRegistry = REGISTRY
) -> None:
    """Run a retriever until `stop`; raises a `Startup` error for whatever prevents the start."""
    embedder = open_embedder(settings.embedder)
    store = VectorStore(settings.store_file, embedder.dimensions, embedder.name)
    library = Library(store, embedder, settings.passage_chars_max)
    server = RpcServer([SERVICE], DEFAULTS, settings.mesh.security())
    retriever_pb2_grpc.add_RetrieverServiceServicer_to_server(RetrieverServicer(library), server.server)
    try:
        port = await server.start(settings.host, settings.port)
        with serve_metrics(settings.metrics_port, settings.host, registry):
            await server.set_serving(True)
            ready({"url": join_address(settings.host, port)})
            await stop.wait()
            await server.stop(settings.grace_ms)
    finally:
        await server.stop(0)
        library.close()


async def check(settings: Settings) -> None:
    """Find what would prevent a start; opens the file of passages. Raises `Startup`."""
    check_certificates(settings.mesh.security())
    embedder = open_embedder(settings.embedder)
    store = VectorStore(settings.store_file, embedder.dimensions, embedder.name)
    Library(store, embedder, settings.passage_chars_max).close()
