"""Placement policies: pure questions over the fleet. Each filters, scores and picks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from services.common.domain import Path, Request
from services.router.core.config import CoreConfig
from services.router.core.fleet import Worker
from services.router.core.flight import Flight

Score = Callable[[Worker], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class PathChoice:
    """A path and why, as the receipt says it."""

    path: Path
    reason: str


class PathPolicy(Protocol):
    """Chooses the path of a request."""

    def choose(self, request: Request, text_tokens: int) -> PathChoice:
        """The path for a text of so many tokens."""

    def set_local_tokens_max(self, tokens: int) -> None:
        """Take another threshold."""


class WorkerPolicy(Protocol):
    """Chooses a worker for a flight."""

    def pick(self, flight: Flight, workers: Iterable[Worker]) -> Worker | None:
        """The best of the workers that have room now; `None` when none has."""


class LengthThreshold:
    """Short prompts go local; so does sampling that a change of engines would alter."""

    def __init__(self, config: CoreConfig) -> None:
        self._local_tokens_max = config.local_prompt_tokens_max

    def set_local_tokens_max(self, tokens: int) -> None:
        """Take another threshold."""
        self._local_tokens_max = tokens

    def choose(self, request: Request, text_tokens: int) -> PathChoice:
        """The path for a text of so many tokens."""
        if request.strict_disaggregation:
            return PathChoice(Path.DISAGGREGATED, "demanded")
        if not request.sampling.continues_exactly:
            return PathChoice(Path.LOCAL, "sampling")
        if text_tokens <= self._local_tokens_max:
            return PathChoice(Path.LOCAL, "short_prompt")
        return PathChoice(Path.DISAGGREGATED, "long_prompt")


class LeastLoadedDecode:
    """The decode worker with the smallest share of its KV blocks taken, then with the fewest requests."""

    def __init__(self, config: CoreConfig) -> None:
        self._expected_output_tokens = config.expected_output_tokens

    def pick(self, flight: Flight, workers: Iterable[Worker]) -> Worker | None:
        """The best of the workers that can hold the text and its expected growth."""
        fits = (w for w in workers if w.has_room(self.blocks(flight, w)))
        return _least(flight, fits, lambda w: (w.blocks_taken / w.capacity.kv_blocks, w.slots_taken))

    def blocks(self, flight: Flight, worker: Worker) -> int:
        """KV blocks to reserve on a worker."""
        left = flight.request.sampling.max_tokens - len(flight.delivered)
        return worker.blocks_for(flight.text_tokens + min(left, self._expected_output_tokens))


class LeastQueuedPrefill:
    """The prefill worker with the fewest prompt tokens to run."""

    def __init__(self, config: CoreConfig) -> None:
        self._batches_ahead = config.prefill_batches_ahead

    def pick(self, flight: Flight, workers: Iterable[Worker]) -> Worker | None:
        """The best of the workers that would start the prompt soon."""
        fits = (w for w in workers if self._would_start_soon(flight, w))
        return _least(flight, fits, lambda w: (w.prefill_tokens_taken, w.blocks_taken))

    def _would_start_soon(self, flight: Flight, worker: Worker) -> bool:
        if not worker.has_room(worker.blocks_for(flight.text_tokens)):
            return False
        ahead = worker.prefill_tokens_taken
        return ahead == 0 or (
            ahead + flight.text_tokens <= self._batches_ahead * worker.capacity.max_batched_tokens
        )


def _least(flight: Flight, workers: Iterable[Worker], score: Score) -> Worker | None:
    avoided = flight.avoided_workers
    return min(workers, key=lambda w: (w.session in avoided, *score(w), w.session), default=None)


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies in force."""

    path: PathPolicy
    decode: LeastLoadedDecode
    prefill: WorkerPolicy

    @classmethod
    def of(cls, config: CoreConfig) -> "Policies":
        """The first policies."""
        return cls(LengthThreshold(config), LeastLoadedDecode(config), LeastQueuedPrefill(config))
