"""The callers' side of a world: requests under way, and what became of them."""

from collections.abc import Callable
from itertools import count
from random import Random
from typing import Protocol

from services.planner.load.ask import Ask
from services.planner.results.tally import Call, Tally
from services.planner.world.timeline import Timeline

Then = Callable[[], None]
RETRY_MS = 1_000.0
"""A client that was refused waits so long before it goes on."""


class Front(Protocol):
    """Takes requests in; tells `Callers.first_token` and `Callers.ended`."""

    def submit(self, stream: int, ask: Ask) -> None:
        """A request under its caller's number."""


class Callers:
    """Makes requests at a front, and counts what comes back."""

    def __init__(self, timeline: Timeline, front: Front, tally: Tally, *, front_ms: float, seed: int) -> None:
        self.random = Random(seed)
        self.tally = tally
        self._timeline, self._front, self._front_ms = timeline, front, front_ms
        self._calls: dict[int, tuple[Call, Then | None]] = {}
        self._streams = count(1)

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def now_ms(self) -> float:
        """The time."""
        return self._timeline.now_ms

    def at(self, delay_ms: float, call: Then) -> None:
        """Call something later."""
        self._timeline.at(delay_ms, call)

    def ask(self, ask: Ask, then: Then | None = None) -> None:
        """Make a request; it is at the router when the gateway has done its part."""
        stream = next(self._streams)
        call = Call(self._timeline.now_ms, ask.prompt_tokens, ask.answer_tokens)
        self._calls[stream] = call, then
        self.tally.begun(call)
        self._timeline.at(self._front_ms, lambda: self._front.submit(stream, ask))

    def first_token(self, stream: int) -> None:
        """A request's tokens begin, or go on."""
        call = self._calls[stream][0]
        if call.first_ms is None:
            call.first_ms = self._timeline.now_ms

    def ended(self, stream: int, refusal: str = "") -> None:
        """A request's only end."""
        call, then = self._calls.pop(stream)
        self.tally.ended(call, self._timeline.now_ms, refusal)
        if then is None:
            return
        if refusal:
            self._timeline.at(RETRY_MS, then)
        else:
            then()
