"""What a store has leased to this gateway of one bucket that all gateways share."""

import math

from services.common.store.leases import Lease, PoolReport
from services.gateway.accounts.demand import Demand
from services.gateway.accounts.quota.bucket import MINUTE_MS

HELD_SHARE_MAX = 0.2
"""All gateways together hold at most this share of a limit ahead of demand; a waiting request gets more."""


class Pool:
    """A lease, and what is known of the rest. Only the lease is ever given away.

    Amounts are tokens or requests; a negative lease is a debt, paid from the next grants.
    """

    __slots__ = ("_demand", "_held", "_left", "_left_ms", "limit", "waiting")

    def __init__(self, limit: int, now_ms: float) -> None:
        self.limit = limit
        """Size of the shared bucket, and what it gains a minute."""
        self.waiting = 0
        """What requests wait for that do not fit what is held."""
        self._held = 0.0
        self._left = float(limit)
        self._left_ms = now_ms
        self._demand = Demand(now_ms)

    def is_bare(self, now_ms: float) -> bool:
        """Whether nothing is held, owed or expected to be asked for."""
        return abs(self._held) < 1 and not self._demand.ahead(now_ms)

    def left(self, now_ms: float) -> float:
        """What no gateway holds, by the last knowledge and the refill since."""
        return min(self.limit, self._left + self.limit / MINUTE_MS * (now_ms - self._left_ms))

    def has(self, amount: float) -> bool:
        """Whether so much is held."""
        return self._held >= amount

    def wait_ms(self, amount: float, now_ms: float) -> float:
        """How long until so much could be given, by what is known: 0 for at once, infinite for never."""
        missing = amount - self._held - self.left(now_ms)
        if missing <= 0:
            return 0.0
        return missing * MINUTE_MS / self.limit if self.limit else math.inf

    def take(self, amount: float) -> None:
        """Give so much away."""
        self._held -= amount

    def give_back(self, amount: float) -> None:
        """Take back what was not used."""
        self._held = min(self.limit, self._held + amount)

    def note_demand(self, amount: float, now_ms: float) -> None:
        """Take notice that so much is asked for, given or not."""
        self._demand.note(amount, now_ms)

    def remaining(self, now_ms: float) -> int:
        """What is left of the limit, by what is known here; what other gateways hold does not count."""
        return max(0, min(self.limit, math.floor(self._held + self.left(now_ms))))

    def report(self, now_ms: float, gateways: int, *, is_contended: bool) -> PoolReport:
        """What to tell the store. What it returns is given up here and now: the message may arrive or not."""
        seed = math.floor(self.left(now_ms))
        ahead_max = math.floor(self.limit * HELD_SHARE_MAX / max(1, gateways))
        ahead = min(self._demand.ahead(now_ms, is_contended=is_contended), ahead_max)
        target = max(ahead, self.waiting)
        returned = max(0, math.floor(self._held) - target)
        self._held -= returned
        held = math.floor(self._held)
        return PoolReport(self.limit, held, returned, max(0, target - held), seed)

    def adopt(self, lease: Lease, now_ms: float) -> None:
        """Take up what the store grants, and note what it has left."""
        self._held += lease.granted
        self._left = float(lease.left)
        self._left_ms = now_ms

    def forfeit(self) -> None:
        """The lease has run out; a debt stays."""
        self._held = min(self._held, 0.0)

    def level_alone(self, share: float, now_ms: float) -> float:
        """What this gateway has without the store: its lease, and its share of what nobody holds."""
        return self._held + self.left(now_ms) * share

    def come_back(self, level: float, share: float, now_ms: float) -> None:
        """The store answers again, and has gone on refilling what was spent without it.

        What all gateways hold then, and the store has left, is what they had without it, all together.
        """
        self._held = level - self.left(now_ms) * share
