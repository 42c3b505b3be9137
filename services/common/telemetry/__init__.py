"""What a process tells of itself: JSON log lines on standard output, and Prometheus metrics."""

from services.common.telemetry.logs import configure_logging, dropped_line, dropped_notice
from services.common.telemetry.metrics import CertificateCollector, OutputCollector, serve_metrics
from services.common.telemetry.relay import relay_output

__all__ = [
    "CertificateCollector",
    "OutputCollector",
    "configure_logging",
    "dropped_line",
    "dropped_notice",
    "relay_output",
    "serve_metrics",
]
