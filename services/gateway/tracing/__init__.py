"""Traces by OpenTelemetry: a request's spans, made from its log line when it has ended.

settings   where spans go, and which requests are kept
choice     whether a request is kept
spans      the spans of a line
sending    from the log to the collector, in a thread
"""

from services.gateway.tracing.sending import tracing
from services.gateway.tracing.settings import TracingSettings

__all__ = ["TracingSettings", "tracing"]
