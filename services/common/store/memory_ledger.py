"""Usage counters of one process, for as long as it runs."""

from collections import defaultdict
from collections.abc import Sequence

from services.common.store.usage import DAYS_MAX, UsageEntry, UsageRow, rows_of

Counters = dict[tuple[str, str, str], int]


class MemoryLedger:
    """A `Ledger` in memory; of the oldest days it forgets those over `DAYS_MAX`."""

    def __init__(self) -> None:
        self._days: dict[str, Counters] = {}
        self._added: dict[str, int] = {}

    async def add(self, log_id: str, entries: Sequence[UsageEntry]) -> int:
        """See `Ledger`."""
        fresh = [entry for entry in entries if entry.number > self._added.get(log_id, 0)]
        for entry in fresh:
            self._added[log_id] = entry.number
            self._count(entry)
        return len(fresh)

    async def rows(self, days: Sequence[str]) -> list[UsageRow]:
        """See `Ledger`."""
        return [row for day in days for row in rows_of(day, self._days.get(day, {}))]

    async def close(self) -> None:
        """Nothing to let go of."""

    def _count(self, entry: UsageEntry) -> None:
        counters = self._days.setdefault(entry.day, defaultdict(int))
        for counter in ("prompt_tokens", "cached_tokens", "generated_tokens", "kv_token_ms", "cost_nano"):
            counters[entry.tenant, entry.model, counter] += getattr(entry, counter)
        counters[entry.tenant, entry.model, "requests"] += 1
        while len(self._days) > DAYS_MAX:
            del self._days[min(self._days)]
