"""Prometheus metrics over HTTP."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from services.common.errors import PortInUse
from services.common.telemetry.metrics_server import MetricsHandler, MetricsServer
from services.common.telemetry.waiting_output import WaitingOutput


class OutputCollector(Collector):
    """What a process could not say."""

    def __init__(self, waiting: Mapping[str, WaitingOutput]) -> None:
        """`waiting` is what `relay_output` returns."""
        self._waiting = waiting

    def collect(self) -> Iterator[CounterMetricFamily]:
        """One total for each stream."""
        family = CounterMetricFamily(
            "pdmesh_output_lines_dropped",
            "Lines that were not written since nothing read standard output or error",
            labels=["stream"],
        )
        for name, waiting in self._waiting.items():
            family.add_metric([name], waiting.lines_dropped)
        yield family


class CertificateCollector(Collector):
    """When certificates end, for an alert before they do.

    Reads the files when it is scraped, because a renewed certificate replaces its file.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = sorted({path for path in paths if path})

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The end of each file's first certificate; a file that cannot be read has none."""
        ends = GaugeMetricFamily(
            "pdmesh_certificate_expires_timestamp_seconds",
            "When a certificate that this process shows ends, in seconds since 1970",
            labels=["file"],
        )
        for path in self._paths:
            try:
                certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
            except (OSError, ValueError):
                continue
            ends.add_metric([Path(path).name], certificate.not_valid_after_utc.timestamp())
        yield ends


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
        server = MetricsServer((host, port), MetricsHandler)
    except OSError as error:
        raise PortInUse(f"cannot listen on {host}:{port} for metrics: {error.strerror}") from None
    server.set_app(make_wsgi_app(registry))
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="metrics")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
