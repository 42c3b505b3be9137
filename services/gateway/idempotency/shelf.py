"""The answers that a gateway holds, running and finished, within their bounds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from services.common.clock import Clock
from services.common.limits import Limits
from services.gateway.idempotency.held import Held


@dataclass(slots=True)
class _Row:
    """One tenant's answers, by name."""

    running: dict[str, Held] = field(default_factory=dict)
    finished: dict[str, Held] = field(default_factory=dict)
    """Oldest first."""
    finished_bytes: int = 0

    @property
    def held_bytes(self) -> int:
        return self.finished_bytes + sum(held.tape.held_bytes for held in self.running.values())

    @property
    def count(self) -> int:
        return len(self.running) + len(self.finished)


class Shelf:
    """Answers by name, in a row for each tenant. What expires or must make room is told to `on_dropped`.

    Rows share the room: where it is short, the tenant that takes most of it gives way. A tenant that takes no
    more than an equal share loses nothing to another.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.on_dropped: Callable[[Held], None] = lambda _: None
        self._limits = limits
        self._clock = clock
        self._rows: dict[str, _Row] = {}
        self._finished: dict[str, Held] = {}
        """Of all tenants, oldest first, which is the order in which they expire."""
        self._running: dict[str, Held] = {}
        self._finished_bytes = 0

    @property
    def running(self) -> Iterable[Held]:
        """Those that are being written, as they are now."""
        return tuple(self._running.values())

    @property
    def held_bytes(self) -> int:
        """What all answers take of memory."""
        return self._finished_bytes + sum(held.tape.held_bytes for held in list(self._running.values()))

    @property
    def count(self) -> int:
        """Names that are held."""
        return len(self._running) + len(self._finished)

    def find(self, name: str) -> Held | None:
        """What is held under a name, unless its time is over."""
        self._drop_expired()
        return self._running.get(name) or self._finished.get(name)

    def add(self, held: Held) -> None:
        """Hold an answer that is being written."""
        self._running[held.name] = held
        self._rows.setdefault(held.tenant, _Row()).running[held.name] = held

    def keep(self, held: Held) -> None:
        """Hold a finished answer until its time is over, or room is needed."""
        if self._running.pop(held.name, None) is held:
            held.expires_ms = self._clock.now_ms() + self._limits.idempotency_ttl_ms
            held.kept_bytes = held.tape.held_bytes
            self._finished[held.name] = held
            self._finished_bytes += held.kept_bytes
            row = self._rows[held.tenant]
            row.finished[held.name] = row.running.pop(held.name)
            row.finished_bytes += held.kept_bytes
            self.make_room()

    def remove(self, held: Held) -> None:
        """Forget an answer."""
        if self._running.get(held.name) is held:
            del self._running[held.name]
            del self._rows[held.tenant].running[held.name]
            self._tidy(held.tenant)
        elif self._finished.get(held.name) is held:
            self._take_finished(held)

    def make_room(self) -> None:
        """Drop what is over its time; then, of the tenant with most, the oldest answer, and where all of its
        answers are still running, keep no more of the largest."""
        self._drop_expired()
        while self.count > self._limits.idempotency_keys_max and (row := self._row_with_most_names()):
            self._drop(_first(row.finished))
        while self.held_bytes > self._limits.idempotency_kept_bytes_max and self._shrink_largest_row():
            pass

    def _row_with_most_names(self) -> _Row | None:
        """Of those with finished answers, if it takes more than an equal share."""
        share = self._limits.idempotency_keys_max / len(self._rows)
        rows = [row for row in self._rows.values() if row.finished and row.count > share]
        return max(rows, key=lambda row: row.count, default=None)

    def _shrink_largest_row(self) -> bool:
        row = max(self._rows.values(), key=lambda row: row.held_bytes, default=None)
        if row is None:
            return False
        if row.finished:
            self._drop(_first(row.finished))
            return True
        kept = [held for held in row.running.values() if held.tape.is_kept and held.tape.held_bytes]
        if kept:
            max(kept, key=lambda held: held.tape.held_bytes).tape.discard()
        return bool(kept)

    def _drop_expired(self) -> None:
        now_ms = self._clock.now_ms()
        while self._finished and (oldest := _first(self._finished)).expires_ms <= now_ms:
            self._drop(oldest)

    def _drop(self, held: Held) -> None:
        self._take_finished(held)
        self.on_dropped(held)

    def _take_finished(self, held: Held) -> None:
        del self._finished[held.name]
        self._finished_bytes -= held.kept_bytes
        row = self._rows[held.tenant]
        del row.finished[held.name]
        row.finished_bytes -= held.kept_bytes
        self._tidy(held.tenant)

    def _tidy(self, tenant: str) -> None:
        if not self._rows[tenant].count:
            del self._rows[tenant]


def _first(answers: dict[str, Held]) -> Held:
    return next(iter(answers.values()))
