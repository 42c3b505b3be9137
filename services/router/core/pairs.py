"""What is known of each prefill-decode pair: whether handoffs work between them, and how fast."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from services.router.core.breaker import Breaker
from services.router.core.fleet import Worker
from services.router.core.rates import Mean

HELD_MAX = 1_000


class CanaryResult(IntEnum):
    """What the correctness canary last saw."""

    UNKNOWN = 0
    EQUAL = 1
    DIFFERED_ONCE = 2
    """To be confirmed with another prompt: near ties can differ without a fault."""
    DIFFERED = 3
    FAILED = 4
    """It did not end, so nothing could be compared."""


@dataclass(slots=True, eq=False)
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
    transfer_ms: Mean = field(default_factory=Mean)
    """The pull alone; of a canary, whose KV is small, nearly all of it is latency."""
    transport: str = ""
    """What the KV travels by, in the decode worker's words."""
    canary: CanaryResult = CanaryResult.UNKNOWN
    canary_at_ms: float | None = None
    refusal: str = ""
    """Why KV could not be handed over at all, so that no request takes this way; "" where it can."""
    failure: str = ""
    """Why the last handoff failed."""
    wanted_since_ms: float | None = None
    """When a request first waited for its first canary."""

    @property
    def title(self) -> str:
        """What operators read of it."""
        return f"handoffs {self.prefill.worker_id} to {self.decode.worker_id}"

    @property
    def names(self) -> tuple[str, str]:
        """What its workers are called, whatever session they are in."""
        return self.prefill.worker_id, self.decode.worker_id

    @property
    def is_tried(self) -> bool:
        """Whether KV has been handed over, or a canary has ended: only then requests take this way."""
        return self.handoffs > 0 or self.canary is not CanaryResult.UNKNOWN


class Pairs:
    """All pairs that have met; bounded by the fleet, forgotten with either worker.

    But not that a pair was held: a worker that was lost for a moment is the same when it attaches again.
    """

    def __init__(self) -> None:
        self._pairs: dict[tuple[int, int], Pair] = {}
        self.refused: dict[Pair, None] = {}
        """Those whose KV cannot be handed over at all."""
        self.times_forgiven = 0
        self._held: dict[tuple[str, str], None] = {}
        """Names of pairs that were held when a worker went, and of which canaries are to decide anew; the
        oldest go first.
        """

    def of(self, prefill: Worker, decode: Worker) -> Pair:
        """The record of a pair."""
        key = (prefill.session, decode.session)
        pair = self._pairs.get(key)
        if pair is None:
            pair = self._pairs[key] = Pair(prefill, decode)
            if self.is_on_trial(pair):
                pair.canary = CanaryResult.DIFFERED
                pair.breaker.hold()
        return pair

    def peek(self, prefill: Worker, decode: Worker) -> Pair:
        """The record of a pair, a blank one if it has not met."""
        return self._known(prefill, decode) or Pair(prefill, decode)

    def may_hand_over(self, prefill: Worker, decode: Worker, now_ms: float) -> bool:
        """Whether nothing is held against the pair: neither its breaker is open, nor was its canary stuck."""
        pair = self._known(prefill, decode)
        return pair is None or not (pair.refusal or pair.breaker.is_open(now_ms))

    def is_tried(self, prefill: Worker, decode: Worker) -> bool:
        """Whether a canary, or a request, has gone this way."""
        pair = self._pairs.get((prefill.session, decode.session))
        return pair is not None and pair.is_tried

    def _known(self, prefill: Worker, decode: Worker) -> Pair | None:
        if self._held:
            return self.of(prefill, decode)
        return self._pairs.get((prefill.session, decode.session))

    def forget(self, session: int) -> None:
        """A worker is gone."""
        gone = [key for key in self._pairs if session in key]
        for pair in map(self._pairs.pop, gone):
            self.refused.pop(pair, None)
            if pair.breaker.is_held:
                self._held.pop(pair.names, None)
                self._held[pair.names] = None
        while len(self._held) > HELD_MAX:
            del self._held[next(iter(self._held))]

    def is_on_trial(self, pair: Pair) -> bool:
        """Whether it was held before one of its workers went and came back: the next canaries decide."""
        return pair.names in self._held

    def acquit(self, pair: Pair) -> None:
        """A pair on trial has handed over what it should."""
        del self._held[pair.names]
        pair.breaker.release()

    def hold(self, pair: Pair) -> None:
        """A pair hands over what it should not, on trial or not."""
        self._held.pop(pair.names, None)
        pair.breaker.hold()

    def refuse(self, pair: Pair, why: str) -> None:
        """KV cannot be handed over between the two."""
        pair.refusal = why
        self.refused[pair] = None

    def accept(self, pair: Pair) -> None:
        """It can again."""
        pair.refusal = ""
        self.refused.pop(pair, None)

    def forgive(self) -> list[Pair]:
        """Forget what was held against any pair; returns those whose breakers were not closed."""
        self._held.clear()
        forgiven = [pair for pair in self._pairs.values() if pair.breaker.release()]
        for pair in self.refused:
            pair.refusal, pair.canary, pair.canary_at_ms = "", CanaryResult.UNKNOWN, None
        self.refused.clear()
        self.times_forgiven += 1
        return forgiven

    def __iter__(self) -> Iterator[Pair]:
        """All that have met."""
        return iter(self._pairs.values())
