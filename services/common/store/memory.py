"""The store inside one process."""

from dataclasses import dataclass

from services.common.clock import Clock, MonotonicClock
from services.common.errors import StoreUnavailable
from services.common.store.interface import MEMBERS_MAX


@dataclass(slots=True)
class _Entry:
    value: bytes
    expires_ms: float


class MemoryStore:
    """A dict with times to live; refuses new keys once `entries_max` live ones are held."""

    def __init__(self, clock: Clock | None = None, entries_max: int = 100_000) -> None:
        self._clock = clock or MonotonicClock()
        self._entries_max = entries_max
        self._entries: dict[str, _Entry] = {}

    async def ping(self) -> None:
        """Always answers."""

    async def get(self, key: str) -> bytes | None:
        """See `Store`."""
        entry = self._live(key)
        return entry.value if entry else None

    async def set(self, key: str, value: bytes, ttl_ms: int) -> None:
        """See `Store`."""
        self._put(key, value, ttl_ms)

    async def claim(self, key: str, value: bytes, ttl_ms: int) -> bytes:
        """See `Store`."""
        entry = self._live(key)
        if entry is not None and entry.value != value:
            return entry.value
        self._put(key, value, ttl_ms)
        return value

    async def delete(self, key: str) -> bool:
        """See `Store`."""
        was_live = self._live(key) is not None
        self._entries.pop(key, None)
        return was_live

    async def enter(self, roster: str, member: str, ttl_ms: int) -> list[str]:
        """See `Store`."""
        self._put(_entry(roster, member), member.encode(), ttl_ms)
        return await self.members(roster)

    async def leave(self, roster: str, member: str) -> None:
        """See `Store`."""
        self._entries.pop(_entry(roster, member), None)

    async def members(self, roster: str) -> list[str]:
        """See `Store`."""
        begin = _entry(roster, "")
        found = [key for key in list(self._entries) if key.startswith(begin) and self._live(key)]
        return sorted(key.removeprefix(begin) for key in found)[:MEMBERS_MAX]

    async def close(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def _live(self, key: str) -> _Entry | None:
        entry = self._entries.get(key)
        if entry and entry.expires_ms <= self._clock.now_ms():
            del self._entries[key]
            return None
        return entry

    def _put(self, key: str, value: bytes, ttl_ms: int) -> None:
        if key not in self._entries and len(self._entries) >= self._entries_max:
            self._evict_expired()
        if key not in self._entries and len(self._entries) >= self._entries_max:
            raise StoreUnavailable(f"the in-process store is full ({self._entries_max} entries)")
        self._entries[key] = _Entry(value, self._clock.now_ms() + ttl_ms)

    def _evict_expired(self) -> None:
        now = self._clock.now_ms()
        self._entries = {key: entry for key, entry in self._entries.items() if entry.expires_ms > now}


def _entry(roster: str, member: str) -> str:
    """The key of one membership; no other key has such a character."""
    return f"{roster}\0{member}"
