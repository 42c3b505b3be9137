"""Prometheus metrics over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

from services.common.errors import PortInUse


@contextmanager
def serve_metrics(
    port: int, host: str = "127.0.0.1", registry: CollectorRegistry = REGISTRY
) -> Iterator[None]:
    """Expose a registry's metrics on `/metrics` while the context is open; port 0 exposes nothing.

    Raises `PortInUse` when the port cannot be had.
    """
    if port == 0:
        yield
        return
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise PortInUse(f"cannot listen on {host}:{port} for metrics: {error.strerror}") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
