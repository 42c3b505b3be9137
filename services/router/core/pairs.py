"""What is known of each prefill-decode pair: whether handoffs work between them, and how fast."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from services.router.core.breaker import Breaker
from services.router.core.fleet import Worker
from services.router.core.rates import Mean


class CanaryResult(IntEnum):
    """What the correctness canary last saw."""

    UNKNOWN = 0
    EQUAL = 1
    DIFFERED_ONCE = 2
    """To be confirmed with another prompt: near ties can differ without a fault."""
    DIFFERED = 3
    FAILED = 4
    """It did not end, so nothing could be compared."""


@dataclass(slots=True)
class Pair:
    """One prefill worker handing over to one decode worker."""

    prefill: Worker
    decode: Worker
    breaker: Breaker = field(default_factory=Breaker)
    handoffs: int = 0
    failures: int = 0
    handoff_ms: Mean = field(default_factory=Mean)
    """From offer to adoption, as the router sees it."""
    transfer_gb_per_s: Mean = field(default_factory=Mean)
    """As the decode worker measured the pull alone."""
    canary: CanaryResult = CanaryResult.UNKNOWN
    canary_at_ms: float | None = None


class Pairs:
    """All pairs that have met; bounded by the fleet, forgotten with either worker."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[int, int], Pair] = {}

    def of(self, prefill: Worker, decode: Worker) -> Pair:
        """The record of a pair."""
        key = (prefill.session, decode.session)
        pair = self._pairs.get(key)
        if pair is None:
            pair = self._pairs[key] = Pair(prefill, decode)
        return pair

    def peek(self, prefill: Worker, decode: Worker) -> Pair:
        """The record of a pair, a blank one if it has not met."""
        return self._pairs.get((prefill.session, decode.session)) or Pair(prefill, decode)

    def may_hand_over(self, prefill: Worker, decode: Worker, now_ms: float) -> bool:
        """Whether the pair's breaker lets a handoff through."""
        pair = self._pairs.get((prefill.session, decode.session))
        return pair is None or not pair.breaker.is_open(now_ms)

    def forget(self, session: int) -> None:
        """A worker is gone."""
        self._pairs = {key: pair for key, pair in self._pairs.items() if session not in key}

    def __iter__(self) -> Iterator[Pair]:
        """All that have met."""
        return iter(self._pairs.values())
