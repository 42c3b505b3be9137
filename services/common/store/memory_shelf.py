"""The shelf inside one process."""

from collections import OrderedDict
from dataclasses import dataclass, field
from operator import attrgetter

from services.common.clock import Clock
from services.common.store.shelf import ShelfBounds


@dataclass(slots=True)
class _Entry:
    value: bytes
    expires_ms: float


@dataclass(slots=True)
class _Row:
    """What one owner has, the oldest first."""

    entries: "OrderedDict[str, _Entry]" = field(default_factory=OrderedDict)
    size_bytes: int = 0

    def drop(self, name: str) -> int:
        """Remove an entry; its size, 0 where there is none."""
        entry = self.entries.pop(name, None)
        size_bytes = len(entry.value) if entry is not None else 0
        self.size_bytes -= size_bytes
        return size_bytes


class MemoryShelf:
    """Keeps its promises until the process ends (a `Shelf`)."""

    def __init__(self, clock: Clock, bounds: ShelfBounds) -> None:
        self._clock = clock
        self._bounds = bounds
        self._rows: dict[str, _Row] = {}
        self.size_bytes = 0

    async def keep(self, owner: str, name: str, value: bytes) -> None:
        """See `Shelf`."""
        self.put(owner, name, value)

    def put(self, owner: str, name: str, value: bytes) -> None:
        """Keep an entry, which takes no waiting here."""
        bounds = self._bounds
        row = self._rows.setdefault(owner, _Row())
        self.size_bytes += len(value) - row.drop(name)
        row.entries[name] = _Entry(value, self._clock.now_ms() + bounds.ttl_ms)
        row.size_bytes += len(value)
        while len(row.entries) > bounds.entries_per_owner_max or row.size_bytes > bounds.bytes_per_owner_max:
            self._drop_oldest(row)
        while self.size_bytes > bounds.size_bytes_max:
            self._drop_oldest(max(self._rows.values(), key=attrgetter("size_bytes")))
        self._forget_if_empty(owner)

    async def find(self, owner: str, name: str) -> bytes | None:
        """See `Shelf`."""
        self._drop_expired(owner)
        row = self._rows.get(owner)
        entry = row.entries.get(name) if row is not None else None
        return entry.value if entry is not None else None

    async def remove(self, owner: str, name: str) -> bool:
        """See `Shelf`."""
        self._drop_expired(owner)
        row = self._rows.get(owner)
        if row is None or name not in row.entries:
            return False
        self.size_bytes -= row.drop(name)
        self._forget_if_empty(owner)
        return True

    async def close(self) -> None:
        """Forget everything."""
        self._rows.clear()
        self.size_bytes = 0

    def drop_expired(self) -> None:
        """Forget what is over, of all owners."""
        for owner in list(self._rows):
            self._drop_expired(owner)

    def _drop_expired(self, owner: str) -> None:
        """Entries have one time to live, so those that are over are the oldest."""
        row, now_ms = self._rows.get(owner), self._clock.now_ms()
        while row is not None and row.entries and next(iter(row.entries.values())).expires_ms <= now_ms:
            self._drop_oldest(row)
        self._forget_if_empty(owner)

    def _drop_oldest(self, row: _Row) -> None:
        self.size_bytes -= row.drop(next(iter(row.entries)))

    def _forget_if_empty(self, owner: str) -> None:
        row = self._rows.get(owner)
        if row is not None and not row.entries:
            del self._rows[owner]
