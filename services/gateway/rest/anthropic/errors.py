"""Errors as Anthropic writes them."""

import msgspec

from services.common.errors import MeshError
from services.gateway.http.message import HttpResponse
from services.gateway.rest.openai.errors import error_response as openai_response

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error_body(error: MeshError) -> dict[str, object]:
    """The whole body. Beside Anthropic's `type` and `message`: the field at fault and the reason."""
    kind = _TYPES.get(error.http_status) or (
        "invalid_request_error" if error.http_status < 500 else "api_error"
    )
    described = {
        "type": kind,
        "message": error.message,
        "param": error.field or None,
        "code": error.reason,
    }
    return {"type": "error", "error": described}


def error_response(error: MeshError) -> HttpResponse:
    """The whole answer, with the same headers as any other error's."""
    headers = openai_response(error).headers
    return HttpResponse(error.http_status, msgspec.json.encode(error_body(error)), headers=headers)
