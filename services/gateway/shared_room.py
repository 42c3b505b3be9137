"""Bytes of memory that all callers share, so that none of them can take all of it."""

FREE_SHARES = 4
"""A tenant may hold at most so many times what is free: alone four fifths, and always less than all."""


class SharedRoom:
    """Counts what is held, altogether and by tenant.

    The more of it is taken, the less one tenant may have: who holds much is refused first, and there is room
    left for who holds little.
    """

    def __init__(self, size_bytes: int) -> None:
        self.held_bytes = 0
        """What all hold at the moment."""
        self._size_bytes = size_bytes
        self._by_tenant: dict[str, int] = {}

    def open(self, tenant: str) -> "Holding":
        """Nothing yet, for a tenant's request to grow in."""
        return Holding(self, tenant)

    def take(self, tenant: str, amount_bytes: int) -> bool:
        """Take so much for a tenant; False, and nothing is taken, where that would be too much."""
        own = self._by_tenant.get(tenant, 0) + amount_bytes
        free = self._size_bytes - self.held_bytes - amount_bytes
        if own > free * FREE_SHARES:
            return False
        self._by_tenant[tenant] = own
        self.held_bytes += amount_bytes
        return True

    def give_back(self, tenant: str, amount_bytes: int) -> None:
        """Give back what was taken."""
        self.held_bytes -= amount_bytes
        own = self._by_tenant.get(tenant, 0) - amount_bytes
        if own:
            self._by_tenant[tenant] = own
        else:
            self._by_tenant.pop(tenant, None)


class Holding:
    """What one request holds of a room. Releasing it twice gives it back once."""

    __slots__ = ("_room", "_tenant", "size_bytes")

    def __init__(self, room: SharedRoom, tenant: str) -> None:
        self.size_bytes = 0
        self._room = room
        self._tenant = tenant

    def grow(self, amount_bytes: int) -> bool:
        """Take more; False, and nothing is taken, where there is no room."""
        if not self._room.take(self._tenant, amount_bytes):
            return False
        self.size_bytes += amount_bytes
        return True

    def release(self) -> None:
        """Give everything back."""
        if self.size_bytes:
            self._room.give_back(self._tenant, self.size_bytes)
            self.size_bytes = 0
