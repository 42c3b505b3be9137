"""What a process tells of itself: JSON log lines on standard output, and Prometheus metrics."""

from services.common.telemetry.logs import configure_logging
from services.common.telemetry.metrics import serve_metrics

__all__ = ["configure_logging", "serve_metrics"]
