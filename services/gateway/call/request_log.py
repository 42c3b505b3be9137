"""The one log line of each request, whatever edge it came through."""

import logging
from collections.abc import Mapping
from http import HTTPStatus

from services.common.domain import Receipt
from services.common.errors import MeshError
from services.gateway.call.receipt import receipt_json

_log = logging.getLogger("pdmesh.request")


def log_request(method: str, path: str, status: int, took_ms: float, notes: Mapping[str, object]) -> None:
    """Write the line, if anybody wants it: what the edge says of the request, then what others have noted."""
    if not _log.isEnabledFor(logging.INFO):
        return
    took_ms = round(took_ms, 3)
    line: dict[str, object] = {"method": method, "path": path, "status": status, "took_ms": took_ms}
    for name, note in notes.items():
        if isinstance(note, MeshError):
            line |= _error(name, note)
        else:
            line[name] = receipt_json(note) if isinstance(note, Receipt) else note
    _log.info("request", extra=line)


def _error(name: str, error: MeshError) -> dict[str, object]:
    """What a client did wrong may quote the client; what went wrong in the mesh is for its operators, even
    where the caller was told less."""
    error = error.__cause__ if isinstance(error.__cause__, MeshError) else error
    if error.http_status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return {name: error.reason}
    return {name: error.reason, f"{name}_message": error.message}
