"""The one log line of each request, whatever edge it came through."""

import logging
from collections.abc import Mapping

from services.common.domain import Receipt
from services.gateway.openai.format import receipt_json

_log = logging.getLogger("pdmesh.request")


def is_logged() -> bool:
    """Whether anybody wants these lines; where nobody does, none is made."""
    return _log.isEnabledFor(logging.INFO)


def log_request(fields: Mapping[str, object], notes: Mapping[str, object]) -> None:
    """Write the line: what the edge says of the request, then what others have noted."""
    _log.info("request", extra={**fields, **{name: _shown(note) for name, note in notes.items()}})


def _shown(note: object) -> object:
    return receipt_json(note) if isinstance(note, Receipt) else note
