"""Telling every router, at intervals, what the engine holds."""

import asyncio
from collections.abc import Sequence

from services.common.clock import until_beat_s
from services.common.domain import LoadReport
from services.worker.attachment import Attachment
from services.worker.engine import Engine


class LoadReporter:
    """Asks the engine once per interval, whoever wants to know, because its means are per report."""

    def __init__(self, engine: Engine, interval_ms: int) -> None:
        self._engine = engine
        self._interval_ms = interval_ms
        self.newest = LoadReport()

    def refresh(self) -> LoadReport:
        """Ask the engine now."""
        self.newest = self._engine.load()
        return self.newest

    async def run(self, attachments: Sequence[Attachment]) -> None:
        """Report for ever, as often as the most demanding router asks for."""
        while True:
            wanted = [a.load_interval_ms for a in attachments if a.load_interval_ms]
            await asyncio.sleep(until_beat_s(min([self._interval_ms, *wanted]) / 1e3))
            load = self.refresh()
            for attachment in attachments:
                attachment.report(load)
