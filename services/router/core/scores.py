"""The filters, scorers and the picker that profiles are made of: small, frozen, pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from services.router.core.fleet import Worker
from services.router.core.profile import Question

session_of: Callable[[Worker], int] = attrgetter("session")


@dataclass(frozen=True, slots=True)
class TakesWork:
    """Its breaker closed. Only those that serve are asked about."""

    name: str = "takes_work"

    def keep(self, question: Question, workers: Sequence[Worker]) -> Sequence[Worker]:
        """Those that may get new work."""
        now_ms = question.now_ms
        # All but a few have a closed breaker, and a call for each would be half the cost of choosing.
        return [w for w in workers if w.breaker.is_closed or w.takes_work(now_ms)]


@dataclass(frozen=True, slots=True)
class HasAdapter:
    """Able to run the request's LoRA adapter."""

    name: str = "has_adapter"

    def keep(self, question: Question, workers: Sequence[Worker]) -> Sequence[Worker]:
        """All where no adapter is asked for."""
        lora = question.flight.request.lora
        return [w for w in workers if w.runs_adapter(lora)] if lora else workers


@dataclass(frozen=True, slots=True)
class HasRoom:
    """Room for the text and its expected growth."""

    name: str = "has_room"

    def keep(self, question: Question, workers: Sequence[Worker]) -> Sequence[Worker]:
        """Those with a free slot and enough free KV blocks."""
        blocks = question.blocks
        return [
            w
            for w in workers
            # Most have plenty, and a call for each would cost more than the answer.
            if (
                w.slots_taken < w.capacity.max_running_requests
                and w.blocks_taken + blocks <= w.capacity.kv_blocks
            )
            or w.has_room(blocks)
        ]


@dataclass(frozen=True, slots=True)
class StartsSoon:
    """A prefill worker's queue is kept short: what waits in the router can still go elsewhere."""

    batches_ahead: int
    name: str = "starts_soon"

    def keep(self, question: Question, workers: Sequence[Worker]) -> Sequence[Worker]:
        """Those with nothing ahead, or with this text still within the batches allowed."""
        text_tokens, ahead = question.text_tokens, self.batches_ahead
        return [
            w
            for w in workers
            if not w.prefill_tokens_taken
            or w.prefill_tokens_taken + text_tokens <= ahead * w.capacity.max_batched_tokens
        ]


@dataclass(frozen=True, slots=True)
class FreeBlocks:
    """Share of KV blocks that the router has not given away, 0 to 1."""

    weight: float
    name: str = "free_blocks"

    def scores(self, question: Question, workers: Sequence[Worker]) -> Sequence[float] | None:
        """More for emptier workers."""
        weight = self.weight
        return [weight * (1.0 - w.blocks_taken / w.capacity.kv_blocks) for w in workers]


@dataclass(frozen=True, slots=True)
class StepTime:
    """How quickly the engine is expected to step: 1 for instantly, 1/2 at the reference.

    Its last report says how quickly it did. What the router has given and taken since changes that.
    """

    weight: float
    reference_ms: float
    name: str = "step_time"

    def scores(self, question: Question, workers: Sequence[Worker]) -> Sequence[float] | None:
        """More for quicker workers."""
        weight, reference_ms = self.weight, self.reference_ms
        return [
            weight * (reference_ms / (reference_ms + ms) if ms > 0.0 else 1.0)
            for w in workers
            for ms in (w.step_ms_reported + (w.slots_taken - w.slots_reported) * w.step_ms_per_request,)
        ]


@dataclass(frozen=True, slots=True)
class CachedTokens:
    """Share of the text whose KV is there, 0 to 1."""

    weight: float
    name: str = "cached_tokens"

    def scores(self, question: Question, workers: Sequence[Worker]) -> Sequence[float] | None:
        """More for longer prefixes; nothing where nobody has any."""
        overlap = question.overlap
        if not overlap.levels:
            return None
        weight, text_tokens = self.weight, question.text_tokens
        return [weight * (tokens / text_tokens) for tokens in overlap.tokens(map(session_of, workers))]


@dataclass(frozen=True, slots=True)
class QueuedTokens:
    """Prompt tokens ahead, in lengths of this text: a queued token costs what a cached one saves."""

    weight: float
    name: str = "queued_tokens"

    def scores(self, question: Question, workers: Sequence[Worker]) -> Sequence[float] | None:
        """0 for an idle worker, less for longer queues."""
        weight, text_tokens = self.weight, question.text_tokens
        return [weight * (-w.prefill_tokens_taken / text_tokens) for w in workers]


@dataclass(frozen=True, slots=True)
class SameConversation:
    """The worker that served the conversation before, where its cache is not known from events."""

    weight: float
    feeds: Callable[[int], bool]
    name: str = "same_conversation"

    def scores(self, question: Question, workers: Sequence[Worker]) -> Sequence[float] | None:
        """All for that worker."""
        visited = question.visited
        if visited is None or self.feeds(visited):
            return None
        weight = self.weight
        return [weight * (w.session == visited) for w in workers]


@dataclass(frozen=True, slots=True)
class SameAdapter:
    """Workers that have run the LoRA adapter have it loaded, most likely."""

    weight: float
    name: str = "same_adapter"

    def scores(self, question: Question, workers: Sequence[Worker]) -> Sequence[float] | None:
        """All for such workers."""
        weight, have = self.weight, question.adapter_workers
        return [weight * (w.session in have) for w in workers] if have else None


@dataclass(frozen=True, slots=True)
class BestScore:
    """The highest score; those that failed this flight only when there is nobody else."""

    name: str = "best_score"

    def pick(self, question: Question, workers: Sequence[Worker], scores: Sequence[float]) -> Worker:
        """Equals by fewer requests, fewer blocks, and who came first."""
        if avoided := question.flight.avoided_workers:
            fresh = [(w, s) for w, s in zip(workers, scores, strict=True) if w.session not in avoided]
            workers, scores = tuple(zip(*fresh, strict=True)) or (workers, scores)
        highest = max(scores)
        if scores.count(highest) == 1:
            return workers[scores.index(highest)]
        equals = [w for w, score in zip(workers, scores, strict=True) if score == highest]
        return min(equals, key=lambda w: (w.slots_taken, w.blocks_taken, w.session))
