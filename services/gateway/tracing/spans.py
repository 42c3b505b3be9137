"""A request's spans, from what its log line says.

Names and attributes follow OpenTelemetry's conventions for HTTP and for generative AI (their version 0.1.0);
what those lack is under `pdmesh.`. The line has durations and one moment, the request's end: the first token
came `ttft_ms` after the start, the prompt was computed before it, the handoff and the rest of the answer came
after it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Line = Mapping[str, Any]
Attributes = dict[str, str | int | float | bool | tuple[str, ...]]

OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/messages": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}
PROVIDER = "pdmesh"


@dataclass(frozen=True, slots=True)
class Part:
    """One span: where it is in the tree, and when, in milliseconds from the request's start."""

    name: str
    parent: str
    """Name of the span above; empty for the request's own."""
    start_ms: float
    end_ms: float
    attributes: Attributes


def parts(line: Line) -> Iterator[Part]:
    """The spans of a line, each after the one above it."""
    route, took_ms = str(line["path"]), float(line["took_ms"])
    root = f"{line['method']} {route}"
    yield Part(root, "", 0.0, took_ms, _of_request(line))
    if "model" not in line:
        return
    operation = OPERATIONS.get(route, "chat")
    inference = f"{operation} {line['model']}"
    yield Part(inference, root, 0.0, took_ms, _of_inference(line, operation))
    yield from _phases(line, inference, took_ms)


def _phases(line: Line, parent: str, took_ms: float) -> Iterator[Part]:
    receipt = line.get("receipt") or {}
    queue_ms, prefill_ms, handoff_ms, decode_ms = (
        float(receipt.get(name) or 0.0) for name in ("queue_ms", "prefill_ms", "handoff_ms", "decode_ms")
    )
    first_ms = float(line.get("ttft_ms") or min(took_ms, queue_ms + prefill_ms))
    placed_ms = max(0.0, first_ms - prefill_ms)
    decoding_ms = first_ms + handoff_ms
    spans = (
        ("pdmesh.queue", max(0.0, placed_ms - queue_ms), placed_ms, queue_ms, _of_queue(receipt)),
        ("pdmesh.prefill", placed_ms, first_ms, prefill_ms, _of_prefill(line, receipt)),
        ("pdmesh.handoff", first_ms, decoding_ms, handoff_ms, _of_handoff(receipt)),
        ("pdmesh.decode", decoding_ms, decoding_ms + decode_ms, decode_ms, _of_decode(line, receipt)),
    )
    for name, start_ms, end_ms, duration_ms, attributes in spans:
        if duration_ms > 0.0:
            yield Part(name, parent, start_ms, min(end_ms, took_ms), attributes)


def _of_request(line: Line) -> Attributes:
    return _present(
        {
            "http.request.method": line["method"],
            "http.route": line["path"],
            "http.response.status_code": line["status"],
            "error.type": line.get("error"),
            "pdmesh.request.id": line.get("request_id"),
            "pdmesh.tenant": line.get("tenant"),
        }
    )


def _of_inference(line: Line, operation: str) -> Attributes:
    receipt, ttft_ms = line.get("receipt") or {}, line.get("ttft_ms")
    reasons = (str(line["finish_reason"]),) if line.get("finish_reason") else None
    return _present(
        {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": line["model"],
            "gen_ai.response.model": receipt.get("model"),
            "gen_ai.response.id": line.get("request_id"),
            "gen_ai.response.finish_reasons": reasons,
            "gen_ai.response.time_to_first_chunk": None if ttft_ms is None else ttft_ms / 1e3,
            "gen_ai.usage.input_tokens": line.get("prompt_tokens"),
            "gen_ai.usage.output_tokens": line.get("generated_tokens"),
            "gen_ai.usage.cache_read.input_tokens": receipt.get("cached_tokens"),
            "error.type": line.get("error"),
            "pdmesh.path": receipt.get("path"),
            "pdmesh.path.reason": receipt.get("path_reason"),
            "pdmesh.retries": receipt.get("retries"),
        }
    )


def _of_queue(receipt: Line) -> Attributes:
    return _present({"pdmesh.path": receipt.get("path"), "pdmesh.path.reason": receipt.get("path_reason")})


def _of_prefill(line: Line, receipt: Line) -> Attributes:
    worker = receipt.get("prefill_worker") or receipt.get("decode_worker")
    return _present(
        {
            "pdmesh.worker.id": worker,
            "gen_ai.usage.input_tokens": line.get("prompt_tokens"),
            "gen_ai.usage.cache_read.input_tokens": receipt.get("cached_tokens"),
        }
    )


def _of_handoff(receipt: Line) -> Attributes:
    return _present(
        {
            "pdmesh.handoff.from": receipt.get("prefill_worker"),
            "pdmesh.handoff.to": receipt.get("decode_worker"),
            "pdmesh.handoff.bytes": receipt.get("kv_size_bytes"),
            "pdmesh.handoff.gigabytes_per_second": receipt.get("handoff_gb_per_s"),
        }
    )


def _of_decode(line: Line, receipt: Line) -> Attributes:
    return _present(
        {
            "pdmesh.worker.id": receipt.get("decode_worker"),
            "gen_ai.usage.output_tokens": line.get("generated_tokens"),
        }
    )


def _present(attributes: Mapping[str, Any]) -> Attributes:
    return {name: value for name, value in attributes.items() if value not in (None, "")}
