"""Collections whose look-ups have failed several times in a row, and are left alone for a while."""

from collections import OrderedDict
from dataclasses import dataclass

from services.common.clock import Clock

FAILURES_MAX = 3
"""After so many in a row prompts do not wait for the collection any more."""
SUSPENDED_MS = 5_000
COLLECTIONS_MAX = 10_000
"""Failing collections that are remembered; past it the oldest is forgotten."""

Collection = tuple[str, str]
"""A tenant, and the name of its collection: one tenant's trouble is no other's."""


@dataclass(slots=True)
class _Trouble:
    failures: int = 0
    until_ms: float = 0.0


class Suspensions:
    """Counts failures that say that a collection cannot be had, and nothing of others."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._troubles: OrderedDict[Collection, _Trouble] = OrderedDict()

    def has(self, collection: Collection) -> bool:
        """Whether this one is left alone at the moment."""
        trouble = self._troubles.get(collection)
        return trouble is not None and self._clock.now_ms() < trouble.until_ms

    def note_failure(self, collection: Collection) -> None:
        """It was away, or too slow."""
        trouble = self._troubles.setdefault(collection, _Trouble())
        self._troubles.move_to_end(collection)
        trouble.failures += 1
        if trouble.failures >= FAILURES_MAX:
            trouble.until_ms = self._clock.now_ms() + SUSPENDED_MS
        while len(self._troubles) > COLLECTIONS_MAX:
            self._troubles.popitem(last=False)

    def note_answer(self, collection: Collection) -> None:
        """It was there, whatever it answered."""
        self._troubles.pop(collection, None)
