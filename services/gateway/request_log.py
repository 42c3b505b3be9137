"""The one log line of each request, whatever edge it came through."""

import logging
from collections.abc import Mapping

from services.common.domain import Receipt
from services.gateway.openai.format import receipt_json

_log = logging.getLogger("pdmesh.request")


def log_request(method: str, path: str, status: int, took_ms: float, notes: Mapping[str, object]) -> None:
    """Write the line, if anybody wants it: what the edge says of the request, then what others have noted."""
    if not _log.isEnabledFor(logging.INFO):
        return
    fields = {"method": method, "path": path, "status": status, "took_ms": round(took_ms, 3)}
    _log.info("request", extra={**fields, **{name: _shown(note) for name, note in notes.items()}})


def _shown(note: object) -> object:
    return receipt_json(note) if isinstance(note, Receipt) else note
