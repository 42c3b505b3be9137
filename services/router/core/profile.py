"""Filter, score, pick: how a worker is chosen for a flight. The policies themselves are in `scores`."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from services.router.core.fleet import Worker
from services.router.core.flight import Flight
from services.router.core.prefixes import Overlap

Stopwatch = Callable[[], float]
"""Seconds of some clock; the shell injects a real one, the core by itself reads none."""


@dataclass(frozen=True, slots=True)
class Question:
    """For whom a worker is sought, and what is known that helps."""

    flight: Flight
    now_ms: float
    text_tokens: int
    kv_tokens: int
    """Tokens of KV to hold there, expected growth included."""
    blocks: int
    """The same in KV blocks."""
    overlap: Overlap
    """Who has how much of the text's KV."""
    visited: int | None = None
    """The session of the worker that served this conversation before."""
    adapter_workers: Collection[int] = ()
    """Sessions of workers that have run the request's LoRA adapter."""


class Filter(Protocol):
    """Takes those out that cannot have the flight."""

    @property
    def name(self) -> str:
        """The policy's name in figures."""

    def keep(self, question: Question, workers: Sequence[Worker]) -> Sequence[Worker]:
        """Those that can."""


class Scorer(Protocol):
    """Says how well each worker suits the flight."""

    @property
    def name(self) -> str:
        """The policy's name in figures."""

    def scores(self, question: Question, workers: Sequence[Worker]) -> Sequence[float] | None:
        """One number for each worker, more is better; `None` when this policy has nothing to say."""


class Picker(Protocol):
    """Takes one of the scored workers."""

    @property
    def name(self) -> str:
        """The policy's name in figures."""

    def pick(self, question: Question, workers: Sequence[Worker], scores: Sequence[float]) -> Worker:
        """The one; there is at least one."""


@dataclass(slots=True)
class Timing:
    """Seconds that each policy has taken, by name."""

    stopwatch: Stopwatch = lambda: 0.0
    total_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def lap(self, name: str, since_s: float) -> float:
        """Charge a policy with the time since `since_s`; returns the time by the stopwatch."""
        now_s = self.stopwatch()
        self.total_s[name] += now_s - since_s
        return now_s


@dataclass(frozen=True, slots=True)
class Profile:
    """The policies of one kind of choice, in the order in which they are asked."""

    name: str
    filters: tuple[Filter, ...]
    scorers: tuple[tuple[float, Scorer], ...]
    """With their weights."""
    picker: Picker
    timing: Timing = field(default_factory=Timing)

    def keep(self, question: Question, workers: Sequence[Worker]) -> Sequence[Worker]:
        """Those that pass every filter."""
        at_s = self.timing.stopwatch()
        for policy in self.filters:
            workers = policy.keep(question, workers)
            at_s = self.timing.lap(policy.name, at_s)
            if not workers:
                break
        return workers

    def pick(self, question: Question, workers: Sequence[Worker]) -> Worker | None:
        """The best of those that pass every filter; `None` when none does."""
        workers = self.keep(question, workers)
        if not workers:
            return None
        totals = [0.0] * len(workers)
        at_s = self.timing.stopwatch()
        for weight, policy in self.scorers:
            scores = policy.scores(question, workers)
            if scores is not None:
                totals = [total + weight * score for total, score in zip(totals, scores, strict=True)]
            at_s = self.timing.lap(policy.name, at_s)
        chosen = self.picker.pick(question, workers, totals)
        self.timing.lap(self.picker.name, at_s)
        return chosen
