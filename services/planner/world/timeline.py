"""Virtual time: calls in the order of their times, and in the order in which they were asked for."""

import heapq
from collections.abc import Callable
from itertools import count

Call = Callable[[], None]


class Timeline:
    """The time, and what is still to happen."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self._calls: list[tuple[float, int, Call]] = []
        self._order = count()

    def at(self, delay_ms: float, call: Call) -> None:
        """Call something after a time."""
        heapq.heappush(self._calls, (self.now_ms + delay_ms, next(self._order), call))

    def run(self, until_ms: float) -> None:
        """Let time pass."""
        calls, pop = self._calls, heapq.heappop
        while calls and calls[0][0] <= until_ms:
            self.now_ms, _, call = pop(calls)
            call()
        self.now_ms = until_ms

    def run_next(self) -> bool:
        """Go to the next call and make it; False when there is none."""
        if not self._calls:
            return False
        self.now_ms, _, call = heapq.heappop(self._calls)
        call()
        return True
