"""What one gateway has booked and the store has not counted yet."""

import logging
from collections import deque
from itertools import islice

from services.common.store.usage import UsageEntry
from services.gateway.accounts.metering.metrics import MeteringMetrics
from services.gateway.accounts.metering.usage_log import UsageLog

ENTRIES_MAX = 50_000
"""In memory; past it they are in the file only, and lost without one."""

_log = logging.getLogger(__name__)


class Book:
    """Entries in order, numbered from 1; on disk before anybody learns of the request's end."""

    def __init__(self, log: UsageLog | None, metrics: MeteringMetrics) -> None:
        self._log = log
        self._metrics = metrics
        self._waiting: deque[UsageEntry] = deque()
        self._last_number = 0
        self._spilled = 0
        """Entries that are in the file only."""
        self._counted_number = 0
        """Of the newest entry that the store has."""
        self._is_failing = False

    def __len__(self) -> int:
        return len(self._waiting) + self._spilled

    @property
    def next_number(self) -> int:
        """The number of the next entry."""
        return self._last_number + 1

    def add(self, entry: UsageEntry) -> bool:
        """Write an entry down; False where it is lost."""
        self._last_number = entry.number
        is_on_disk = self._log is not None and self._write(self._log, entry)
        if not self._spilled and len(self._waiting) < ENTRIES_MAX:
            self._waiting.append(entry)
        elif is_on_disk:
            self._spilled += 1
        else:
            self._metrics.lost.inc()
            return False
        return True

    def first(self, count_max: int) -> list[UsageEntry]:
        """The oldest entries. Raises OSError when they are in the file and it cannot be read."""
        if self._spilled and not self._waiting and self._log is not None:
            self._waiting.extend(islice(self._log.entries(after=self._counted_number), ENTRIES_MAX))
            self._spilled = max(0, self._spilled - len(self._waiting)) if self._waiting else 0
        return list(islice(self._waiting, count_max))

    def counted(self, entries: list[UsageEntry]) -> None:
        """The store has these, which were the oldest. Raises OSError when the file cannot be emptied."""
        for entry in entries:
            self._waiting.popleft()
            self._counted_number = entry.number
        if self._log is not None and not len(self):
            self._log.clear()

    def close(self) -> None:
        """Leave what is not counted to the next gateway."""
        if self._log is not None:
            if len(self):
                self._log.close()
            else:
                self._log.remove()

    def _write(self, log: UsageLog, entry: UsageEntry) -> bool:
        try:
            is_written = log.append(entry)
            why = "it is full"
        except OSError as error:
            is_written, why = False, str(error)
        if is_written == self._is_failing:
            self._is_failing = not is_written
            if self._is_failing:
                _log.error("usage: cannot write %s (%s); it would be lost with this process", log.path, why)
            else:
                _log.warning("usage: %s is written again", log.path)
        return is_written
