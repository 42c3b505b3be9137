"""Keeps requests that killed workers, so that somebody can reproduce it."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

from services.common.domain import Request

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
        directory.mkdir(parents=True, exist_ok=True)
        if sum(1 for _ in directory.glob("*.json")) >= RECORDS_MAX:
            return
        sampling = asdict(request.sampling)
        kept = {"model": request.model, "why": why, "sampling": sampling, "prompt": list(request.prompt)}
        name = "".join(c if c.isalnum() or c in "-_" else "_" for c in request.request_id)
        (directory / f"{name[:100]}.json").write_text(json.dumps(kept))
