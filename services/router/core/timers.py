"""Timers by due time."""

import heapq
from collections.abc import Callable, Iterator
from enum import IntEnum
from itertools import count
from typing import NamedTuple


class TimerKind(IntEnum):
    """What is to be looked at when time has come."""

    QUEUE_WAIT = 1
    """Whether the flight still waits."""
    DEADLINE = 2
    """Whether the flight still lives."""
    PROGRESS = 3
    """Whether the flight's job is still the same, and has brought nothing since."""
    BREAKER = 4
    """A worker's breaker is half-open; `gateway` is the worker's session."""


class Timer(NamedTuple):
    """A reminder about one flight, named by its key lest the timer keep its prompt in memory."""

    kind: TimerKind
    gateway: int
    stream: int
    job_number: int = 0
    tokens: int = 0
    """Tokens delivered when the timer was set."""


class Timers:
    """A heap of reminders. None is ever cancelled: when due, its reader looks whether it still matters."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()

    def at(self, due_ms: float, timer: Timer) -> None:
        """Remind once `due_ms` has come."""
        heapq.heappush(self._heap, (due_ms, next(self._order), timer))

    def due(self, now_ms: float) -> Iterator[Timer]:
        """Take out what is due, earliest first."""
        while self._heap and self._heap[0][0] <= now_ms:
            yield heapq.heappop(self._heap)[2]

    def next_due_ms(self, matters: Callable[[Timer], bool]) -> float | None:
        """When the earliest that still matters is due; those before it are forgotten."""
        while self._heap and not matters(self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
