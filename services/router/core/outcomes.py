"""How requests ended lately, for operators and alarms."""

from collections import Counter, deque
from collections.abc import Mapping

WINDOW_MS = 300_000.0
BIN_MS = 10_000.0

ANSWERED = "answered"
CANCELLED = "cancelled"


class RecentOutcomes:
    """Counts by reason over the last five minutes, in bins of ten seconds.

    Reasons are `ANSWERED`, `CANCELLED` and those of the error table, so the memory is bounded.
    """

    def __init__(self) -> None:
        self._bins: deque[tuple[float, Counter[str]]] = deque()

    def count(self, reason: str, now_ms: float) -> None:
        """One request has ended."""
        bins, start_ms = self._bins, now_ms - now_ms % BIN_MS
        if not bins or bins[-1][0] < start_ms:
            bins.append((start_ms, Counter()))
            while bins[0][0] < start_ms - WINDOW_MS:
                bins.popleft()
        bins[-1][1][reason] += 1

    def counts(self, now_ms: float) -> Mapping[str, int]:
        """Requests by reason. May be called from another thread than `count`."""
        total: Counter[str] = Counter()
        for start_ms, counted in list(self._bins):
            if start_ms >= now_ms - WINDOW_MS - BIN_MS:
                total.update(dict(counted))
        return total
