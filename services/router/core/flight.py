"""A flight: one request's life in the router."""

import math
from array import array
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from services.common.domain import Path, Receipt, Request

if TYPE_CHECKING:
    from services.router.core.fleet import Pool, Seat, Worker
    from services.router.core.handoffs import Handoff


class Phase(IntEnum):
    """Where a flight is."""

    WAITING = 1
    PREFILLING = 2
    """A prefill worker runs the prompt; a decode worker is reserved."""
    ADOPTING = 3
    """The decode worker pulls the KV."""
    DECODING = 4
    """The decode worker generates, or runs the prompt itself."""
    ENDED = 5


@dataclass(slots=True, eq=False)
class Flight:
    """One request from admission to its only outcome."""

    gateway: int
    stream: int
    request: Request
    pool: "Pool"
    receipt: Receipt
    delivered: "array[int]"
    """All tokens that have left for the client, those from before a resubmission included."""
    submitted_ms: float
    tokens_max: int = field(init=False)
    """How many tokens it may have: its sampling's word, kept where every token is counted."""
    decode_since_ms: float | None = field(default=None, init=False)
    deadline_at_ms: float = math.inf
    phase: Phase = Phase.WAITING
    path: Path = Path.LOCAL
    announced: bool = False
    """Whether the gateway knows the placement."""
    worker: "Worker | None" = None
    """Who runs the current job."""
    job_stream: int = 0
    job_number: int = 0
    """Jobs started for this flight; tells a timer whether the job that it watches is still the one."""
    cached_is_known: bool = False
    """Whether the receipt says what the prompt's first run found cached."""
    job_since_ms: float = 0.0
    """When the current job was given to its worker."""
    failures_alone: int = 0
    """How often an engine failed this flight and went on with others."""
    prefill_seat: "Seat | None" = None
    decode_seat: "Seat | None" = None
    handoff: "Handoff | None" = None
    """The offer that this flight may still adopt or is adopting."""
    avoided_workers: set[int] = field(default_factory=set)
    """Sessions that failed this flight."""
    waiting_since_ms: float = 0.0
    dispatched_ms: float | None = None
    """Since when a worker runs the prompt; `None` before, and after the first token."""
    handoff_failure: str = ""
    """Why its KV was not handed over."""

    def __post_init__(self) -> None:
        self.tokens_max = self.request.sampling.max_tokens

    @property
    def text_tokens(self) -> int:
        """Length of the text so far: prompt and what was generated."""
        return len(self.request.prompt) + len(self.delivered)

    @property
    def growth_tokens(self) -> int:
        """Tokens that it is expected to gain yet."""
        return min(self.request.sampling.max_tokens - len(self.delivered), self.pool.expected_output.tokens)

    @property
    def was_placed(self) -> bool:
        """Whether it has or had a worker, where it may have begun to work on the prompt."""
        return bool(self.receipt.prefill_worker or self.receipt.decode_worker)

    @property
    def is_placed_again(self) -> bool:
        """Whether it has had a worker before, or a handoff that failed."""
        return bool(self.receipt.retries or self.avoided_workers)

    @property
    def needs_prefill(self) -> bool:
        """Whether a prefill worker is next. For a vector it is the only one: nothing is handed over."""
        if self.request.embedding is not None:
            return True
        return self.path is Path.DISAGGREGATED and self.handoff is None

    def found_cached(self, tokens: int) -> None:
        """A run of the text has found so many tokens cached; the first run's part of the prompt counts.

        Later ones find what the flight itself has left there, its answer so far included.
        """
        if not self.cached_is_known:
            self.cached_is_known = True
            self.receipt.cached_tokens = min(tokens, len(self.request.prompt))

    def stop_decoding(self, now_ms: float) -> None:
        """Book the time spent decoding until now, if it decodes."""
        if self.decode_since_ms is not None:
            self.receipt.decode_ms += now_ms - self.decode_since_ms
            self.decode_since_ms = None

    @property
    def may_move(self) -> bool:
        """Whether another engine can take over exactly."""
        if not self.delivered or self.request.sampling.continues_exactly:
            return True
        return self.pool.can_replay and not self.request.strict_disaggregation
