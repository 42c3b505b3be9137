"""What owners come back to: of each the newest entries, for a bounded time."""

from typing import Protocol

from services.common.domain.record import record


@record
class ShelfBounds:
    """How much is kept."""

    entries_per_owner_max: int
    """Past it the owner's oldest go."""
    bytes_per_owner_max: int
    """Likewise."""
    size_bytes_max: int
    """Of all entries that this process holds; past it the oldest go of the owner that has most."""
    ttl_ms: int


class Shelf(Protocol):
    """Entries of owners. Every method raises `StoreUnavailable` where the store does not answer in time."""

    async def keep(self, owner: str, name: str, value: bytes) -> None:
        """Keep an entry, replacing the one of its name."""

    async def find(self, owner: str, name: str) -> bytes | None:
        """An entry; None where there is none any more."""

    async def remove(self, owner: str, name: str) -> bool:
        """Remove an entry; True when it was there."""

    async def close(self) -> None:
        """Let go of connections; idempotent."""
