"""Filter, score, pick: how a worker is chosen for a flight. The policies themselves are in `scores`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import add
from typing import Protocol

from services.router.core.fleet import Worker
from services.router.core.flight import Flight
from services.router.core.prefixes import Overlap


@dataclass(slots=True)
class Question:
    """For whom a worker is sought, and what is known that helps; nobody changes it (freezing would cost)."""

    flight: Flight
    now_ms: float
    text_tokens: int
    kv_tokens: int
    """Tokens of KV to hold there, expected growth included."""
    blocks: int
    """The same in KV blocks."""
    overlap: Overlap
    """Who has how much of the text's KV; empty where nobody of the tier has any."""
    visited: int | None = None
    """The session of the worker that served this conversation before."""
    adapter_workers: Collection[int] = ()
    """Sessions of workers that have run the request's LoRA adapter."""


class Filter(Protocol):
    """Takes those out that cannot have the flight, each for itself."""

    @property
    def name(self) -> str:
        """The policy's name in figures."""

    def keep(self, question: Question, workers: Sequence[Worker]) -> Sequence[Worker]:
        """Those that can."""


class Scorer(Protocol):
    """Says how well each worker suits the flight, weighted against what the other scorers say.

    What it says of one worker does not depend on who else is asked about.
    """

    @property
    def name(self) -> str:
        """The policy's name in figures."""

    def scores(self, question: Question, workers: Sequence[Worker]) -> Sequence[float] | None:
        """One weighted number for each worker, more is better; `None` when it has nothing to say."""


class Picker(Protocol):
    """Takes one of the scored workers."""

    @property
    def name(self) -> str:
        """The policy's name in figures."""

    def pick(self, question: Question, workers: Sequence[Worker], scores: Sequence[float]) -> Worker:
        """The one; there is at least one."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The policies of one kind of choice, in the order in which they are asked."""

    name: str
    filters: tuple[Filter, ...]
    scorers: tuple[Scorer, ...]
    picker: Picker

    def keep(self, question: Question, workers: Sequence[Worker]) -> Sequence[Worker]:
        """Those that pass every filter."""
        for policy in self.filters:
            workers = policy.keep(question, workers)
            if not workers:
                break
        return workers

    def pick(self, question: Question, workers: Sequence[Worker]) -> Worker | None:
        """The best of those that pass every filter; `None` when none does."""
        workers = self.keep(question, workers)
        if len(workers) <= 1:
            return workers[0] if workers else None
        totals: Sequence[float] | None = None
        for policy in self.scorers:
            scores = policy.scores(question, workers)
            if scores is not None:
                totals = scores if totals is None else list(map(add, totals, scores))
        return self.picker.pick(question, workers, totals or [0.0] * len(workers))
