"""The store as its users see it."""

from typing import Protocol


class Store(Protocol):
    """Keys to bytes, each for a bounded time.

    Every method raises `StoreUnavailable` when the store does not answer in time; what to do without it
    is the caller's policy.
    """

    async def ping(self) -> None:
        """Return when the store answers."""

    async def get(self, key: str) -> bytes | None:
        """The value, or None when there is none or its time is over."""

    async def set(self, key: str, value: bytes, ttl_ms: int) -> None:
        """Store a value for `ttl_ms`, replacing what was there."""

    async def claim(self, key: str, value: bytes, ttl_ms: int) -> bytes:
        """Store a value for `ttl_ms` unless another one is there; returns what is there then.

        Claiming again what is one's own renews it, and with a `ttl_ms` of 0 gives it up.
        """

    async def delete(self, key: str) -> bool:
        """Remove a key; True when it was there."""

    async def enter(self, roster: str, member: str, ttl_ms: int) -> list[str]:
        """Be a member of a roster for `ttl_ms`; returns all members, sorted, at most `MEMBERS_MAX`."""

    async def leave(self, roster: str, member: str) -> None:
        """Be one no more."""

    async def members(self, roster: str) -> list[str]:
        """All members, sorted, at most `MEMBERS_MAX`."""

    async def close(self) -> None:
        """Let go of connections; idempotent."""


MEMBERS_MAX = 10_000
"""Members of a roster that one call returns at most."""
