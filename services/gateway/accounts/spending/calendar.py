"""The periods for which there are budgets: days and months, in UTC."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum


class Period(StrEnum):
    """A kind of period."""

    DAY = "day"
    MONTH = "month"


class Calendar:
    """Which day and month it is. Asked for every request, so it counts anew only when the day is over."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """`now_s` gives seconds since 1970."""
        self._now_s = now_s
        self._begin_s = self._end_s = 0.0
        self._names: dict[Period, str] = {}
        self._resets: dict[Period, datetime] = {}

    def name(self, period: Period) -> str:
        """The present one: `2026-01-31` or `2026-01`, as the ledger names it."""
        self._look()
        return self._names[period]

    def reset(self, period: Period) -> datetime:
        """When the present one ends."""
        self._look()
        return self._resets[period]

    def reset_text(self, period: Period) -> str:
        """The same in words: `2026-02-01T00:00:00Z`."""
        return self.reset(period).strftime("%Y-%m-%dT%H:%M:%SZ")

    def left_ms(self, period: Period) -> float:
        """How long the present one goes on."""
        return max(0.0, (self.reset(period).timestamp() - self._now_s()) * 1000.0)

    def _look(self) -> None:
        now_s = self._now_s()
        if self._begin_s <= now_s < self._end_s:
            return
        today = datetime.fromtimestamp(now_s, UTC).date()
        first = today.replace(day=1)
        self._names = {Period.DAY: today.isoformat(), Period.MONTH: today.isoformat()[:7]}
        self._resets = {
            Period.DAY: _midnight(today + timedelta(days=1)),
            Period.MONTH: _midnight((first + timedelta(days=32)).replace(day=1)),
        }
        self._begin_s = _midnight(today).timestamp()
        self._end_s = self._resets[Period.DAY].timestamp()


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
