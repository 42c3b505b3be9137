"""Dividing a worker's capacity among its routers, so that no two count on the same seat."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.common.domain import Capacity, Grant, Want

S = TypeVar("S")
"""A session; compared by identity."""


class Part:
    """One router's part of one resource, in seats or blocks."""

    __slots__ = ("bound", "demand", "granted", "held")

    def __init__(self) -> None:
        self.granted = 0
        self.bound = 0
        """What the router may still count on: a smaller grant binds it only once it has said so."""
        self.held = 0
        self.demand = 0
        """What it holds and what it would take besides."""

    def grant(self, amount: int) -> None:
        """Tell it of another amount."""
        self.granted = amount
        self.bound = max(self.bound, amount)

    def confirm(self) -> None:
        """It goes by the newest grant; beyond that it keeps what it holds until that ends."""
        self.bound = max(self.granted, self.held)


@dataclass(slots=True)
class _Share:
    """One router's parts."""

    seats: Part = field(default_factory=Part)
    blocks: Part = field(default_factory=Part)
    number: int = 0


class Grants(Generic[S]):
    """Every part is a max-min fair share of what is wanted; what nobody wants is dealt out evenly.

    A part shrinks only when another router lacks something, and what is taken from one is given to another
    only once the first has confirmed: the sum of what routers may count on never exceeds the capacity.
    """

    def __init__(self, capacity: Capacity) -> None:
        self._seats, self._blocks = capacity.max_running_requests, capacity.kv_blocks
        self._shares: dict[S, _Share] = {}

    def join(self, session: S) -> None:
        """A router is attached."""
        self._shares[session] = _Share()

    def leave(self, session: S) -> None:
        """A router is gone, and so is all it had here. Unknown ones are ignored."""
        self._shares.pop(session, None)

    def wants(self, session: S, want: Want) -> None:
        """A router has said what it holds and lacks. Unknown ones are ignored."""
        share = self._shares.get(session)
        if share is None:
            return
        share.seats.held, share.blocks.held = want.running_requests, want.kv_blocks
        share.seats.demand = want.running_requests + want.waiting_requests
        share.blocks.demand = want.kv_blocks + want.waiting_kv_blocks
        if want.grant_number == share.number:
            share.seats.confirm()
            share.blocks.confirm()

    def due(self) -> list[tuple[S, Grant]]:
        """Grants to be sent now; a newcomer gets one even of nothing, so that it says what it wants."""
        changed = divide(self._seats, {s: share.seats for s, share in self._shares.items()})
        changed |= divide(self._blocks, {s: share.blocks for s, share in self._shares.items()})
        changed |= {session for session, share in self._shares.items() if not share.number}
        return [(session, self._next_grant(session)) for session in self._shares if session in changed]

    def _next_grant(self, session: S) -> Grant:
        share = self._shares[session]
        share.number += 1
        return Grant(share.number, share.seats.granted, share.blocks.granted)


def divide(capacity: int, parts: Mapping[S, Part]) -> set[S]:
    """Grant the parts of one resource anew where that helps somebody; returns whose part has changed."""
    before = {session: part.granted for session, part in parts.items()}
    lacking = any(part.demand > part.granted for part in parts.values())
    if not lacking and capacity == sum(part.bound for part in parts.values()):
        return set()
    targets = dict(zip(parts, fair_shares(capacity, [part.demand for part in parts.values()]), strict=True))
    for session, part in parts.items():
        if part.granted > targets[session]:
            part.grant(targets[session])
    free = capacity - sum(part.bound for part in parts.values())
    for session, part in sorted(parts.items(), key=lambda item: item[1].granted):
        amount = min(targets[session], part.bound + free)  # what it may still count on is no other's
        if amount > part.granted:
            free -= max(0, amount - part.bound)
            part.grant(amount)
    return {session for session, part in parts.items() if part.granted != before[session]}


def fair_shares(capacity: int, demands: Iterable[int]) -> list[int]:
    """Max-min fair shares of a capacity, in the order of the demands; what is left is added evenly."""
    demands = list(demands)
    shares, left = [0] * len(demands), capacity
    by_demand = sorted(range(len(demands)), key=lambda n: demands[n])
    for place, n in enumerate(by_demand):
        shares[n] = min(demands[n], left // (len(demands) - place))
        left -= shares[n]
    for place, n in enumerate(by_demand):
        more = left // (len(demands) - place)
        shares[n] += more
        left -= more
    return shares
