"""Requests of one tenant that may be in flight, as far as this gateway may let them."""

import math

from services.common.store.leases import Lease, SlotsReport
from services.gateway.accounts.demand import Demand
from services.gateway.accounts.quota.pool import HELD_SHARE_MAX


class Slots:
    """Slots in use here, and free ones that the store has leased. Alone, a share of the limit."""

    __slots__ = ("_demand", "_free", "_left", "in_use", "limit", "waiting")

    def __init__(self, limit: int, now_ms: float) -> None:
        self.limit = limit
        self.in_use = 0
        self.waiting = 0
        """Requests that wait for a slot."""
        self._free = 0
        self._left = limit
        self._demand = Demand(now_ms)

    def is_bare(self, now_ms: float) -> bool:
        """Whether none is held or expected to be asked for."""
        return self.in_use == 0 and self._free <= 0 and not self._demand.ahead(now_ms)

    def has_free(self, share: float | None) -> bool:
        """Whether a request may begin; `share` is this gateway's part of the limit while it is alone."""
        if share is None:
            return self._free >= 1
        return self.in_use < math.ceil(self.limit * share)

    def may_have_free(self) -> bool:
        """Whether the store might have one."""
        return self._free >= 1 or self._left >= 1

    def take(self) -> None:
        """Begin a request."""
        self.in_use += 1
        self._free -= 1

    def give_back(self) -> None:
        """End a request."""
        self.in_use -= 1
        self._free += 1

    def note_demand(self, now_ms: float) -> None:
        """Take notice that one is asked for."""
        self._demand.note(1, now_ms)

    def report(self, now_ms: float, gateways: int, *, is_contended: bool) -> SlotsReport:
        """What to tell the store. Free slots beyond the demand are given up here and now."""
        ahead_max = math.floor(self.limit * HELD_SHARE_MAX / max(1, gateways))
        ahead = min(self._demand.ahead(now_ms, is_contended=is_contended), ahead_max)
        target = max(ahead, self.waiting)
        self._free = max(0, min(self._free, target))
        return SlotsReport(self.limit, self.in_use + self._free, max(0, target - self._free))

    def adopt(self, lease: Lease) -> None:
        """Take up what the store grants; it takes back where gateways hold too many together."""
        self._free += lease.granted
        self._left = lease.left

    def forfeit(self) -> None:
        """Hold no free ones; the store learns of those in use with the next report."""
        self._free = 0
