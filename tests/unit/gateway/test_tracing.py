"""A request's spans: which are kept, what tree they make, and that a real receiver gets them."""

import logging
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from services.common.telemetry.tallies import Total
from services.gateway.call.request_log import log_request
from services.gateway.tracing import TracingSettings, tracing
from services.gateway.tracing.choice import is_kept, is_sampled
from services.gateway.tracing.spans import Part, parts

RECEIPT = {
    "path": "disaggregated",
    "path_reason": "long_prompt",
    "prefill_worker": "p",
    "decode_worker": "d",
    "cached_tokens": 16,
    "queue_ms": 100.0,
    "prefill_ms": 200.0,
    "handoff_ms": 50.0,
    "decode_ms": 400.0,
    "kv_size_bytes": 1_000_000,
    "retries": 0,
    "model": "m-v2",
}
LINE = {
    "method": "POST",
    "path": "/v1/chat/completions",
    "status": 200,
    "took_ms": 800.0,
    "request_id": "r",
    "tenant": "acme",
    "model": "m",
    "ttft_ms": 320.0,
    "prompt_tokens": 500,
    "generated_tokens": 20,
    "finish_reason": "stop",
    "receipt": RECEIPT,
}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SETTINGS = TracingSettings(share=0.01, slow_ms=1_000.0)


def named(**fields: Any) -> dict[str, Part]:
    return {part.name: part for part in parts(LINE | fields)}


def test_a_request_is_a_tree_of_its_phases_in_order() -> None:
    made = named()
    root, inference = "POST /v1/chat/completions", "chat m"
    assert [(name, part.parent) for name, part in made.items()] == [
        (root, ""),
        (inference, root),
        ("pdmesh.queue", inference),
        ("pdmesh.prefill", inference),
        ("pdmesh.handoff", inference),
        ("pdmesh.decode", inference),
    ]
    times = {name: (part.start_ms, part.end_ms) for name, part in made.items()}
    assert times[root] == times[inference] == (0.0, 800.0)
    assert times["pdmesh.queue"] == (20.0, 120.0)
    assert times["pdmesh.prefill"] == (120.0, 320.0)
    assert times["pdmesh.handoff"] == (320.0, 370.0)
    assert times["pdmesh.decode"] == (370.0, 770.0)


def test_attributes_follow_the_conventions() -> None:
    made = named()
    inference = made["chat m"].attributes
    assert inference["gen_ai.operation.name"] == "chat"
    assert inference["gen_ai.response.model"] == "m-v2"
    assert inference["gen_ai.usage.input_tokens"] == 500
    assert inference["gen_ai.usage.cache_read.input_tokens"] == 16
    assert inference["gen_ai.response.finish_reasons"] == ("stop",)
    assert inference["gen_ai.response.time_to_first_chunk"] == 0.32
    assert made["pdmesh.handoff"].attributes["pdmesh.handoff.bytes"] == 1_000_000
    assert made["pdmesh.prefill"].attributes["pdmesh.worker.id"] == "p"


def test_the_local_path_has_no_handoff_and_prefills_at_the_decode_worker() -> None:
    local = RECEIPT | {"path": "local", "prefill_worker": "", "handoff_ms": 0.0}
    made = named(receipt=local)
    assert "pdmesh.handoff" not in made
    assert made["pdmesh.prefill"].attributes["pdmesh.worker.id"] == "d"


def test_a_request_that_was_refused_at_the_door_is_one_span() -> None:
    (part,) = parts({"method": "GET", "path": "/v1/models", "status": 401, "took_ms": 1.0, "error": "no"})
    assert part.attributes["error.type"] == "no"


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({}, False),
        ({"took_ms": 1_001.0}, True),
        ({"status": 503, "error": "queue_full"}, True),
        ({"error": "answer_lost"}, True),
        ({"receipt": RECEIPT | {"retries": 1}}, True),
        ({"traceparent": TRACE}, True),
        ({"traceparent": TRACE[:-2] + "00"}, False),
        ({"traceparent": "nonsense"}, False),
    ],
)
def test_what_went_wrong_is_kept_and_a_share_of_the_rest(fields: dict[str, Any], kept: bool) -> None:
    assert is_kept(LINE | fields, SETTINGS, lambda: 0.5) is kept
    assert is_kept(LINE | fields, SETTINGS, lambda: 0.001)


@pytest.mark.parametrize("text", ["", "00", "00-a-b", "00-a-b-zz", "----"])
def test_what_is_no_traceparent_is_not_sampled(text: str) -> None:
    assert not is_sampled(text)


class Receiver:
    """What a collector has got."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def take(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans


@contextmanager
def by_http() -> Iterator[tuple[str, Receiver]]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.take(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/traces", receiver
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def by_grpc() -> Iterator[tuple[str, Receiver]]:
    receiver = Receiver()

    class Servicer(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, _context: Any) -> Any:  # noqa: N802 - the protocol's name
            receiver.take(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", receiver
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize(("protocol", "receiving"), [("http", by_http), ("grpc", by_grpc)])
def test_a_real_receiver_gets_the_tree_under_the_caller_s_trace(protocol: str, receiving: Any) -> None:
    line = {
        name: value for name, value in LINE.items() if name not in ("method", "path", "status", "took_ms")
    }
    with receiving() as (endpoint, receiver):
        settings = TracingSettings(endpoint, protocol, share=0.0)
        with tracing(settings, "gateway-1", Total()):
            log_request("POST", "/v1/chat/completions", 200, 800.0, line | {"traceparent": TRACE})
            log_request("POST", "/v1/chat/completions", 200, 800.0, line)
    spans = {span.name: span for span in receiver.spans}
    assert len(receiver.spans) == len(spans) == 6
    assert {span.trace_id.hex() for span in receiver.spans} == {TRACE.split("-")[1]}
    root = spans["POST /v1/chat/completions"]
    assert root.parent_span_id.hex() == TRACE.split("-")[2]
    assert spans["chat m"].parent_span_id == root.span_id
    assert spans["pdmesh.decode"].parent_span_id == spans["chat m"].span_id
    assert root.end_time_unix_nano - root.start_time_unix_nano == 800_000_000


def test_a_collector_that_is_away_costs_nothing_but_spans(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    with tracing(TracingSettings("http://127.0.0.1:9/v1/traces", share=1.0), "g", Total()):
        log_request("POST", "/v1/chat/completions", 200, 1.0, {"model": "m"})


def test_without_an_endpoint_there_are_no_traces() -> None:
    with tracing(TracingSettings(), "g", Total()):
        assert not logging.getLogger("pdmesh.request").handlers
