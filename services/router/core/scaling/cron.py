"""When a floor holds: the five fields of cron, in UTC."""

from dataclasses import dataclass
from datetime import UTC, datetime

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))


@dataclass(frozen=True, slots=True)
class Cron:
    """Minutes that match `minute hour day month weekday`: `*`, numbers, ranges, lists, steps; weekdays also
    as three letters, Sunday being 0 or 7. A day must match both day and weekday, except that either one is
    enough where neither is `*`, as in every cron.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_either_day: bool

    @classmethod
    def parse(cls, text: str) -> "Cron":
        """From `* 8-17 * * mon-fri`; raises ValueError with the field at fault."""
        parts = text.lower().split()
        if len(parts) != len(FIELDS):
            names = " ".join(name for name, _, _ in FIELDS)
            raise ValueError(f"'{text}' does not have the five fields {names}")
        pairs = zip(parts, FIELDS, strict=True)
        minutes, hours, days, months, weekdays = (_field(part, *field) for part, field in pairs)
        is_either = parts[2] != "*" and parts[4] != "*"
        return cls(minutes, hours, days, months, frozenset(day % 7 for day in weekdays), is_either)

    def matches(self, unix_ms: float) -> bool:
        """Whether a moment lies in a minute that matches."""
        at = datetime.fromtimestamp(unix_ms / 1000.0, UTC)
        if at.minute not in self.minutes or at.hour not in self.hours or at.month not in self.months:
            return False
        of_month, of_week = at.day in self.days, at.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.is_either_day else of_month and of_week


def _field(text: str, name: str, least: int, most: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        begin, end = (least, most) if span == "*" else (_number(first, name), _number(last or first, name))
        if step and not dash and span != "*":
            end = most
        width = _number(step, name) if step else 1
        if not (least <= begin <= end <= most and width > 0):
            raise ValueError(f"'{part}' is no {name}: {least} to {most}")
        found.update(range(begin, end + 1, width))
    return frozenset(found)


def _number(text: str, name: str) -> int:
    if name == "weekday" and text in WEEKDAYS:
        return WEEKDAYS.index(text)
    if not text.isdecimal():
        raise ValueError(f"'{text}' is no {name}")
    return int(text)
