"""The request log on disk: one JSON object per request, in files that rotate, are compressed and bounded."""

import contextlib
import gzip
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from services.common.errors import BadSetting
from services.common.telemetry.logs import JsonFormatter
from services.common.telemetry.tallies import Total
from services.gateway.call.request_log import also_to

FILE_SIZE_BYTES_MAX = 32 * 1024 * 1024
"""A file that would grow past this becomes an older one."""
PRIVATE = 0o600

_log = logging.getLogger("pdmesh.request_files")


@contextmanager
def request_files(directory: str, gateway_id: str, size_bytes_max: int, lost: Total) -> Iterator[None]:
    """Keep the request log in `directory` while the context is open; an empty name keeps none.

    All files of one gateway together stay below `size_bytes_max`. The disk is written to in a thread: a slow
    or full one costs lines of the log, which count as `lost`, and nothing else. Raises `BadSetting` for a
    directory that cannot be written to.
    """
    if not directory:
        yield
        return
    files = _Files(_first_file(directory, gateway_id), size_bytes_max, lost)
    with also_to(files, lost):
        yield
    files.close()


def _first_file(directory: str, gateway_id: str) -> Path:
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"requests-{gateway_id.replace('/', '-')}.jsonl"
        file.touch(PRIVATE)
    except OSError as error:
        raise BadSetting(f"--request-log-dir: {directory}: {error.strerror}") from None
    return file


class _Files(RotatingFileHandler):
    """The newest file is plain text, older ones are compressed; the oldest goes first."""

    def __init__(self, first: Path, size_bytes_max: int, lost: Total) -> None:
        size_bytes = min(FILE_SIZE_BYTES_MAX, size_bytes_max // 2)
        older = max(1, size_bytes_max // size_bytes - 1)
        super().__init__(first, maxBytes=size_bytes, backupCount=older, encoding="utf-8")
        self.setFormatter(JsonFormatter("gateway"))
        self.namer = lambda name: f"{name}.gz"
        self.rotator = _compress
        self._lost = lost
        self._is_failing = False

    def _open(self):  # type: ignore[no-untyped-def]
        """Open the newest file, which may hold what callers said: for this user alone."""
        return os.fdopen(
            os.open(self.baseFilename, os.O_APPEND | os.O_CREAT | os.O_WRONLY, PRIVATE), "a", encoding="utf-8"
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; the first that works after a failure ends it."""
        before = self._lost.value
        super().emit(record)
        if self._is_failing and self._lost.value == before:
            self._is_failing = False
            _log.warning(
                "the request log is written again; pdmesh_gateway_request_log_lost counts what is lost"
            )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """A disk that takes nothing is told once, and costs lines of the log alone."""
        self._lost.inc()
        if not self._is_failing:
            self._is_failing = True
            _log.error(
                "the request log cannot be written, its lines are lost: free the disk of --request-log-dir"
            )


def _compress(source: str, target: str) -> None:
    """Move a full file to its compressed form."""
    descriptor = os.open(target, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, PRIVATE)
    with (
        open(source, "rb") as plain,
        os.fdopen(descriptor, "wb") as file,
        gzip.open(file, "wb", compresslevel=3) as packed,
    ):
        shutil.copyfileobj(plain, packed)
    with contextlib.suppress(FileNotFoundError):
        Path(source).unlink()
