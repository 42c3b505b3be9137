"""The one log line of each request, whatever edge it came through."""

import logging
import queue
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from logging.handlers import QueueHandler, QueueListener

from services.common.domain import Receipt
from services.common.errors import MeshError
from services.common.telemetry.tallies import Total
from services.gateway.call.receipt import receipt_json

TRACEPARENT = "traceparent"
TRACEPARENT_CHARS = 55
"""Of version 00; what follows in later versions says nothing to this one."""

_log = logging.getLogger("pdmesh.request")


def note_trace(notes: dict[str, object], headers: Mapping[str, str]) -> None:
    """Note which trace of the caller's a request belongs to, if the caller says so."""
    if parent := headers.get(TRACEPARENT):
        notes[TRACEPARENT] = parent[:TRACEPARENT_CHARS]


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


LINES_WAITING_MAX = 10_000
"""Lines that wait for a handler; more are dropped and counted."""


@contextmanager
def also_to(handler: logging.Handler, lost: Total) -> Iterator[None]:
    """Give each line to another handler as well while the context is open, whatever the log's own level.

    The handler runs in a thread, and nobody waits for it: past a bound lines are dropped and count as `lost`.
    """
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(LINES_WAITING_MAX)
    entry, listener = _Entry(waiting, lost), QueueListener(waiting, handler)
    level = _log.level
    _log.addHandler(entry)
    _log.setLevel(logging.INFO)
    listener.start()
    try:
        yield
    finally:
        _log.removeHandler(entry)
        _log.setLevel(level)
        listener.stop()


class _Entry(QueueHandler):
    """Never waits: past the bound a line is lost."""

    def __init__(self, waiting: "queue.Queue[logging.LogRecord]", lost: Total) -> None:
        super().__init__(waiting)
        self._lost = lost

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """The record as it is: what it holds does not change after the request."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put it into the queue, or count it."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._lost.inc()


def _error(name: str, error: MeshError) -> dict[str, object]:
    """What a client did wrong may quote the client; what went wrong in the mesh is for its operators, even
    where the caller was told less."""
    error = error.__cause__ if isinstance(error.__cause__, MeshError) else error
    if error.http_status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return {name: error.reason}
    return {name: error.reason, f"{name}_message": error.message}
