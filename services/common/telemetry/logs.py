"""One JSON object per log line; fields given as `extra=` stand beside the message."""

import json
import logging
import sys
from datetime import UTC, datetime

OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_to_json = json.JSONEncoder(default=str, ensure_ascii=False).encode


class JsonFormatter(logging.Formatter):
    """Writes `time` (UTC), `level`, `service`, `logger`, `message`, then the record's extras."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line; what JSON cannot carry is written as its `str`."""
        at = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in OWN_FIELDS}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _to_json(line)


def configure_logging(service: str, level: str = "info") -> None:
    """Send every logger of this process to standard output as JSON, from `level` up.

    Standard error stays free for the one line that says why a process could not start.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def dropped_notice(lines: int) -> str:
    """What is said of lines that could not be written."""
    return f"{lines} lines of output were dropped here, since nothing read them"


def dropped_line(service: str, lines: int) -> str:
    """The same as a line of the log."""
    record = logging.LogRecord("pdmesh.output", logging.WARNING, "", 0, dropped_notice(lines), (), None)
    return JsonFormatter(service).format(record)
