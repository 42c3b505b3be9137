"""When requests come: open loop at a rate, from a trace, or by clients that wait for their answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from services.common.errors import BadSetting
from services.planner.load.ask import Ask
from services.planner.load.lengths import Lengths

Then = Callable[[], None]


class Callers(Protocol):
    """Where requests are made."""

    random: Random

    @property
    def now_ms(self) -> float:
        """The time."""

    def at(self, delay_ms: float, call: Then) -> None:
        """Call something later."""

    def ask(self, ask: Ask, then: Then | None = None) -> None:
        """Make a request; `then` is called at its end, whatever it was."""


class Source(Protocol):
    """A load."""

    def begin(self, callers: Callers) -> None:
        """Make requests from now on."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A rate that holds for a time."""

    rate_per_s: float
    for_ms: float


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Random arrivals (Poisson), independent of the answers; phases follow each other, then it is over."""

    lengths: Lengths
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        for phase in self.phases:
            if not 0 <= phase.rate_per_s < float("inf") or not phase.for_ms > 0:
                raise BadSetting(f"--load: a rate of {phase.rate_per_s}/s for {phase.for_ms} ms is none")

    def begin(self, callers: Callers) -> None:
        """Make requests from now on."""
        self._phase(callers, 0)

    def _phase(self, callers: Callers, number: int) -> None:
        if number == len(self.phases):
            return
        phase = self.phases[number]
        self._next(callers, phase.rate_per_s, phase.for_ms)
        callers.at(phase.for_ms, lambda: self._phase(callers, number + 1))

    def _next(self, callers: Callers, rate_per_s: float, left_ms: float) -> None:
        if rate_per_s <= 0:
            return
        wait_ms = callers.random.expovariate(rate_per_s) * 1e3
        if wait_ms >= left_ms:
            return

        def arrive() -> None:
            callers.ask(self.lengths.draw(callers.random))
            self._next(callers, rate_per_s, left_ms - wait_ms)

        callers.at(wait_ms, arrive)


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """Clients that each wait for their answer, think, and ask again.

    Published benchmarks keep a number of requests in flight, all of which begin at once; so does this, unless
    `stagger_ms` spreads the first ones.
    """

    lengths: Lengths
    clients: int
    requests_each: int = 10
    """0: without end."""
    think_ms: float = 0.0
    stagger_ms: float = 0.0
    until_ms: float = float("inf")
    """Nobody asks after this."""
    begin_ms: float = 0.0
    """Nobody asks before this."""

    def __post_init__(self) -> None:
        if self.clients < 1:
            raise BadSetting(f"--load: a concurrency of {self.clients} is none: at least 1 client")

    def begin(self, callers: Callers) -> None:
        """Make requests from now on."""
        left = [self.clients * self.requests_each]
        for number in range(self.clients):
            callers.at(
                self.begin_ms + self.stagger_ms * number / self.clients, lambda: self._ask(callers, left)
            )

    def _ask(self, callers: Callers, left: list[int]) -> None:
        """The next of all requests: who is quick makes more of them than who is slow."""
        if callers.now_ms >= self.until_ms:
            return
        if self.requests_each:
            if left[0] == 0:
                return
            left[0] -= 1

        def again() -> None:
            callers.at(self.think_ms, lambda: self._ask(callers, left))

        callers.ask(self.lengths.draw(callers.random), again)


@dataclass(frozen=True, slots=True)
class Replay:
    """Requests at their times; `factor` of 2 makes everything come twice as fast."""

    requests: Sequence[tuple[float, Ask]]
    """Milliseconds from the beginning, rising."""
    factor: float = 1.0

    def begin(self, callers: Callers) -> None:
        """Make requests from now on."""
        if self.requests:
            self._wait_for(callers, 0, 0.0)

    def _wait_for(self, callers: Callers, number: int, now_ms: float) -> None:
        due_ms, ask = self.requests[number]
        due_ms /= self.factor

        def arrive() -> None:
            callers.ask(ask)
            if number + 1 < len(self.requests):
                self._wait_for(callers, number + 1, due_ms)

        callers.at(max(0.0, due_ms - now_ms), arrive)


@dataclass(frozen=True, slots=True)
class Together:
    """Several loads at once."""

    sources: tuple[Source, ...]

    def begin(self, callers: Callers) -> None:
        """Make requests from now on."""
        for source in self.sources:
            source.begin(callers)
