"""Processes that die again and again, as told by who starts them."""

from collections.abc import Mapping

from services.common.clock import Clock

TOLD_MS = 300_000.0
"""It is told anew at each death; one that is not told of for so long is forgotten."""
PROCESSES_MAX = 256
WHY_CHARS_MAX = 500


class GivenUp:
    """Names and reasons. In memory: who starts them tells again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[str, tuple[str, float]] = {}

    def note(self, name: str, why: str) -> None:
        """Another death; the oldest is forgotten past the bound."""
        self._told.pop(name, None)
        self._told[name] = why[:WHY_CHARS_MAX], self._clock.now_ms()
        while len(self._told) > PROCESSES_MAX:
            del self._told[next(iter(self._told))]

    def current(self) -> Mapping[str, str]:
        """Reasons by name."""
        since_ms = self._clock.now_ms() - TOLD_MS
        return {name: why for name, (why, at_ms) in list(self._told.items()) if at_ms >= since_ms}
