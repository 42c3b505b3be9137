"""From the request log to a collector of traces, in threads of their own."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from services.common.errors import ComponentMissing
from services.common.telemetry.logs import OWN_FIELDS
from services.common.telemetry.tallies import Total
from services.common.version import VERSION
from services.gateway.call.request_log import also_to
from services.gateway.tracing.choice import is_kept
from services.gateway.tracing.settings import TracingSettings
from services.gateway.tracing.spans import parts

SPANS_WAITING_MAX = 8_192
SEND_INTERVAL_MS, SEND_TIMEOUT_S = 2_000, 5
NS_PER_MS, NS_PER_S = 1_000_000, 1_000_000_000


@contextmanager
def tracing(settings: TracingSettings, service_id: str, lost: Total) -> Iterator[None]:
    """Send the spans of requests that end while the context is open; without an endpoint do nothing.

    A collector that is slow or away costs spans and nothing else. Raises `ComponentMissing` without
    OpenTelemetry's packages.
    """
    if not settings.otlp_endpoint:
        yield
        return
    provider = _provider(settings, service_id)
    handler = SpanHandler(provider.get_tracer("pdmesh", VERSION), settings, Random().random)
    try:
        with also_to(handler, lost):
            yield
    finally:
        provider.shutdown()


class SpanHandler(logging.Handler):
    """Makes the spans of the lines that are kept."""

    def __init__(self, tracer: Any, settings: TracingSettings, draw: Callable[[], float]) -> None:
        super().__init__()
        self._tracer, self._settings, self._draw = tracer, settings, draw

    def emit(self, record: logging.LogRecord) -> None:
        """Make a request's spans, if it is one to keep."""
        line = {name: value for name, value in vars(record).items() if name not in OWN_FIELDS}
        if is_kept(line, self._settings, self._draw):
            end_ns = int(record.created * NS_PER_S)
            self._make(line, end_ns - int(float(line["took_ms"]) * NS_PER_MS))

    def _make(self, line: dict[str, Any], begin_ns: int) -> None:
        from opentelemetry import trace
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        above = TraceContextTextMapPropagator().extract({"traceparent": str(line.get("traceparent", ""))})
        contexts = {"": above}
        for part in parts(line):
            span = self._tracer.start_span(
                part.name,
                contexts[part.parent],
                kind=SpanKind.INTERNAL if part.parent else SpanKind.SERVER,
                attributes=part.attributes,
                start_time=begin_ns + int(part.start_ms * NS_PER_MS),
            )
            if "error.type" in part.attributes:
                span.set_status(Status(StatusCode.ERROR, str(part.attributes["error.type"])))
            span.end(begin_ns + int(part.end_ms * NS_PER_MS))
            contexts[part.name] = trace.set_span_in_context(span)


def _provider(settings: TracingSettings, service_id: str) -> Any:
    """What keeps spans until the collector has taken them."""
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    except ImportError:
        raise ComponentMissing("traces need OpenTelemetry: pip install 'pdmesh[tracing]'") from None
    names = {"service.name": "pdmesh", "service.version": VERSION, "service.instance.id": service_id}
    provider = TracerProvider(resource=Resource.create(names), sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(
            _exporter(settings), max_queue_size=SPANS_WAITING_MAX, schedule_delay_millis=SEND_INTERVAL_MS
        )
    )
    return provider


def _exporter(settings: TracingSettings) -> Any:
    if settings.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as ByGrpc

        insecure = not settings.otlp_endpoint.startswith("https:")
        return ByGrpc(settings.otlp_endpoint, insecure=insecure, timeout=SEND_TIMEOUT_S)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as ByHttp

    return ByHttp(settings.otlp_endpoint, timeout=SEND_TIMEOUT_S)
