"""Errors as OpenAI writes them."""

import math

import msgspec

from services.common.errors import MeshError
from services.gateway.accounts.quota.refusal import OverBudget, OverLimit
from services.gateway.http.message import Header, HttpResponse

_CHALLENGE: tuple[Header, ...] = (("www-authenticate", 'Bearer realm="pdmesh"'),)


def error_body(error: MeshError) -> dict[str, object]:
    """`message`, `type`, `param` (the field at fault) and `code` (the machine-readable reason)."""
    kind = "invalid_request_error" if error.http_status < 500 else "server_error"
    if isinstance(error, OverLimit | OverBudget):
        kind = error.kind
    return {"message": error.message, "type": kind, "param": error.field or None, "code": error.reason}


def error_response(error: MeshError) -> HttpResponse:
    """The whole answer, with `Retry-After` where it is known when to come again."""
    body = msgspec.json.encode({"error": error_body(error)})
    headers = _CHALLENGE if error.http_status == 401 else _retry_headers(error.retry_after_ms)
    if isinstance(error, OverLimit | OverBudget):
        headers += error.headers
    return HttpResponse(error.http_status, body, headers=headers)


def error_event(error: MeshError) -> bytes:
    """The error as a server-sent event, for a stream that has begun."""
    return b"data: " + msgspec.json.encode({"error": error_body(error)}) + b"\n\n"


def _retry_headers(retry_after_ms: int | None) -> tuple[Header, ...]:
    if retry_after_ms is None:
        return ()
    seconds = max(1, math.ceil(retry_after_ms / 1000))
    return (("retry-after", str(seconds)), ("retry-after-ms", str(retry_after_ms)))
