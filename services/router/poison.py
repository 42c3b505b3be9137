"""Keeps requests that killed workers, so that somebody can reproduce it."""

import json
import logging
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.common.domain import Request
from services.common.files import write_private

log = logging.getLogger("pdmesh.router")

RECORDS_MAX = 100


class PoisonLog:
    """Writes one JSON file per quarantined request into a directory, up to a bound; or only logs."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory) if directory else None

    def record(self, request: Request, why: str) -> None:
        """Keep one request. The prompt goes to the file alone: logs travel further than files."""
        log.error("request %s is quarantined: %s", request.request_id, why)
        if self._directory is None:
            return
        try:
            self._write(self._directory, request, why)
        except OSError as error:
            log.error("cannot keep request %s: %s", request.request_id, error)

    def _write(self, directory: Path, request: Request, why: str) -> None:
        """The name is not the caller's to choose, and the file is for this user alone: it holds a prompt."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sum(1 for _ in directory.glob("*.json")) >= RECORDS_MAX:
            return
        sampling = asdict(request.sampling)
        kept: dict[str, Any] = {"request_id": request.request_id, "model": request.model, "why": why}
        kept |= {"sampling": sampling, "prompt": list(request.prompt)}
        write_private(directory / f"{uuid.uuid4().hex}.json", json.dumps(kept))
