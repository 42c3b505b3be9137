"""The handoff ledger: every offered KV has one owner until the prefill worker says that it is released."""

from dataclasses import dataclass, field
from enum import IntEnum

from services.common.domain import HandoffOffered
from services.router.core.fleet import Seat, Worker

RELEASE_MS_MAX = 5_000.0
"""How long the word of a release may take, a long step of the prefill worker's engine included."""


class HandoffState(IntEnum):
    """Who owns the KV."""

    OFFERED = 1
    """The prefill worker, under a lease."""
    ADOPTED = 2
    """The decode worker; the prefill worker's release is on its way."""
    DROPPED = 3
    """Nobody will adopt it; the prefill worker has been told."""


@dataclass(slots=True, eq=False)
class Handoff:
    """One request's KV on its way."""

    offer: HandoffOffered
    worker: Worker
    seat: Seat
    offered_ms: float
    state: HandoffState = HandoffState.OFFERED
    over_ms: float = field(init=False)
    """When the prefill worker need hold the KV no longer: at the end of the lease, or once settled."""

    def __post_init__(self) -> None:
        self.over_ms = self.offered_ms + self.offer.lease_ms

    def settle(self, state: HandoffState, now_ms: float) -> None:
        """Somebody else owns the KV now, or nobody."""
        self.state = state
        self.over_ms = min(self.over_ms, now_ms)

    @property
    def handoff_id(self) -> str:
        """The prefill worker's name for it."""
        return self.offer.handoff_id


class HandoffLedger:
    """All handoffs whose release the prefill worker has not yet confirmed."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, str], Handoff] = {}
        self.expired = 0
        """Leases that ran out before anybody settled them, until forgiven: a fault, wherever it is."""

    def __len__(self) -> int:
        return len(self._open)

    def open(self, handoff: Handoff) -> None:
        """Enter an offer."""
        self._open[handoff.worker.session, handoff.handoff_id] = handoff

    def release(self, session: int, handoff_id: str, *, expired: bool) -> Handoff | None:
        """The prefill worker has freed the blocks; `None` when that was known already."""
        handoff = self._open.pop((session, handoff_id), None)
        if handoff is not None:
            handoff.seat.leave()
            self.expired += expired
        return handoff

    def lose(self, session: int) -> list[Handoff]:
        """A prefill worker is gone, and all that it offered with it."""
        lost = [h for (owner, _), h in self._open.items() if owner == session]
        for handoff in lost:
            self.release(session, handoff.handoff_id, expired=False)
        return lost

    def overdue(self, now_ms: float) -> list[Handoff]:
        """Handoffs that are over and not released: the prefill worker holds KV for no request."""
        return [h for h in list(self._open.values()) if now_ms - h.over_ms > RELEASE_MS_MAX]

    def unreleased(self, now_ms: float) -> int:
        """How many are overdue."""
        return len(self.overdue(now_ms))

    def stranded_block_seconds(self, now_ms: float) -> float:
        """KV blocks held by open offers x their age in seconds; zero at rest."""
        held = (h.offer.kv_blocks * (now_ms - h.offered_ms) for h in list(self._open.values()))
        return sum(held) / 1000.0
