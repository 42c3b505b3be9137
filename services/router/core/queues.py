"""The wait queue of one pool and tier: class, fair shares, priority, deadline, then the shortest.

Two rules stand above that order. Who comes back after a failure goes first: it was placed once. Who has
waited longer than the ageing time goes next, oldest first, so that nothing starves.
"""

import heapq
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

from services.common.domain import ServiceClass
from services.router.core.fairness import FairShares

if TYPE_CHECKING:
    from services.router.core.flight import Flight

Rank = tuple[float, ...]
"""Compared as tuples, smaller first."""


STALE_ENTRIES_MAX = 1_024
"""So many entries of requests that have left are kept beside those that wait."""


class _Entry:
    """One waiting request; stale once it has left, because heaps are cleaned when read."""

    __slots__ = ("flight", "growth_tokens", "is_stale", "rank", "tokens")

    def __init__(self, flight: "Flight", order: int) -> None:
        self.flight, self.tokens, self.is_stale = flight, flight.text_tokens, False
        self.growth_tokens = flight.growth_tokens
        self.rank = (float(flight.request.priority), flight.deadline_at_ms, float(self.tokens), float(order))

    def __lt__(self, other: "_Entry") -> bool:
        return self.rank < other.rank


class _TenantLine:
    """One tenant's waiting requests of one class, best first."""

    def __init__(self) -> None:
        self._heap: list[_Entry] = []

    def push(self, entry: _Entry) -> None:
        heapq.heappush(self._heap, entry)

    def head(self) -> _Entry | None:
        while self._heap and self._heap[0].is_stale:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None


class _ClassLine:
    """One class's tenants, by their counters. Counters only grow, so an outdated heap entry is too early."""

    def __init__(self, shares: FairShares) -> None:
        self._shares = shares
        self._tenants: dict[str, _TenantLine] = {}
        self._by_counter: list[tuple[float, str]] = []

    def push(self, entry: _Entry) -> None:
        tenant = entry.flight.request.tenant
        line = self._tenants.get(tenant)
        if line is None:
            line = self._tenants[tenant] = _TenantLine()
            self._shares.join(tenant)
            heapq.heappush(self._by_counter, (self._shares.counter(tenant), tenant))
        line.push(entry)

    def head(self) -> _Entry | None:
        while self._by_counter:
            recorded, tenant = self._by_counter[0]
            entry = self._tenants[tenant].head()
            counter = self._shares.counter(tenant)
            if entry is None:
                heapq.heappop(self._by_counter)
                del self._tenants[tenant]
            elif counter > recorded:
                heapq.heapreplace(self._by_counter, (counter, tenant))
            else:
                return entry
        return None


class WaitQueue:
    """Requests that wait for one tier, bounded by requests and tokens.

    `has_room_for` is asked before `append`. `head` costs O(log n) amortised.
    """

    def __init__(self, requests_max: int, tokens_max: int, shares: FairShares, ageing_ms: float) -> None:
        self.requests_max, self.tokens_max = requests_max, tokens_max
        self._shares, self._ageing_ms = shares, ageing_ms
        self._returned: dict[Flight, _Entry] = {}
        self._arrived: dict[Flight, _Entry] = {}
        self._classes = {c: _ClassLine(shares) for c in ServiceClass}
        self._lines = tuple(self._classes.values())
        self._order = count()
        self._stale = 0
        """Entries that have left and still lie in a heap, at most."""
        self.tokens = 0
        self.growth_tokens = 0
        """What the answers of all that wait will take, as was expected when each began to wait."""

    def __len__(self) -> int:
        return len(self._returned) + len(self._arrived)

    def __iter__(self) -> "Iterator[Flight]":
        yield from self._returned
        yield from self._arrived

    def has_room_for(self, text_tokens: int) -> bool:
        """Whether one more request of this length stays within the bounds."""
        return len(self) < self.requests_max and self.tokens + text_tokens <= self.tokens_max

    def append(self, flight: "Flight") -> None:
        """Add an admitted request."""
        entry = self._add(self._arrived, flight)
        self._classes[flight.request.service_class].push(entry)

    def put_back(self, flight: "Flight") -> None:
        """Add a request whose worker failed; it was admitted once, so the bounds do not apply."""
        self._add(self._returned, flight)

    def _add(self, line: "dict[Flight, _Entry]", flight: "Flight") -> _Entry:
        entry = line[flight] = _Entry(flight, next(self._order))
        self.tokens += entry.tokens
        self.growth_tokens += entry.growth_tokens
        return entry

    def head(self, now_ms: float) -> "Flight | None":
        """Who is next."""
        for returned in self._returned:
            return returned
        for oldest in self._arrived:
            if now_ms - oldest.waiting_since_ms >= self._ageing_ms:
                return oldest
            break
        if not self._arrived and not self._stale:
            return None
        for line in self._lines:
            if (entry := line.head()) is not None:
                return entry.flight
        self._stale = 0  # every heap has been read to its end
        return None

    def rank(self, flight: "Flight", now_ms: float) -> Rank:
        """The rank of a waiting flight, comparable between the queues of one pool."""
        if flight in self._returned:
            return (0.0, flight.submitted_ms)
        if now_ms - flight.waiting_since_ms >= self._ageing_ms:
            return (1.0, flight.submitted_ms)
        request = flight.request
        counter = self._shares.counter(request.tenant)
        return (2.0, float(request.service_class), counter, *self._arrived[flight].rank)

    def remove(self, flight: "Flight") -> bool:
        """Take a flight out; False when it was not here."""
        for line in (self._returned, self._arrived):
            entry = line.pop(flight, None)
            if entry is not None:
                entry.is_stale = True
                self.tokens -= entry.tokens
                self.growth_tokens -= entry.growth_tokens
                if line is self._arrived:
                    self._sweep()
                return True
        return False

    def _sweep(self) -> None:
        """Heaps clean themselves only when read, and age or a better class may keep one from being read."""
        self._stale += 1
        if self._stale <= len(self._arrived) + STALE_ENTRIES_MAX:
            return
        self._stale = 0
        self._classes = {c: _ClassLine(self._shares) for c in ServiceClass}
        self._lines = tuple(self._classes.values())
        for entry in self._arrived.values():
            self._classes[entry.flight.request.service_class].push(entry)
