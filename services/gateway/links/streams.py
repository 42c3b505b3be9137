"""A request in flight at the router, and whoever takes its tokens."""

from array import array
from dataclasses import dataclass, field, replace
from typing import Protocol

from services.common.domain import FinishReason, Path, Receipt, Request, TokenLogprobs
from services.common.domain.record import record
from services.common.errors import MeshError


@record
class Placement:
    """Where a request runs, known before its first token."""

    path: Path
    reason: str
    prefill_worker: str
    decode_worker: str

    def without_names(self) -> "Placement":
        """The same for a caller that may not know the workers."""
        return Placement(self.path, self.reason, "", "")

    def worker_headers(self) -> tuple[tuple[str, str], ...]:
        """The workers' names for an answer's head; none where they are not to be known."""
        if not (self.prefill_worker or self.decode_worker):
            return ()
        return (
            ("x-pdmesh-prefill-worker", self.prefill_worker),
            ("x-pdmesh-decode-worker", self.decode_worker),
        )


class StreamSink(Protocol):
    """Takes what the router says of one request, in order; must not block.

    After `on_ended` or `on_failed`, which come exactly once between them, nothing follows.
    """

    def on_placed(self, placement: Placement) -> None:
        """Take where it runs; again when it is placed again."""

    def on_token(self, token_id: int) -> None:
        """Take the next token, which is all that one frame has, without logprobs: what most frames have."""

    def on_tokens(self, ids: "array[int]", logprobs: TokenLogprobs | None = None) -> None:
        """Take the next tokens, all that one frame has of them, with their logprobs if the request asked."""

    def on_ended(self, reason: FinishReason, receipt: Receipt, vector: "array[float] | None" = None) -> None:
        """Take the end, and the vector if the request asked for one."""

    def on_failed(self, error: MeshError, receipt: Receipt | None = None) -> None:
        """Take an end without a whole answer, and the receipt if the router has sent one."""


@dataclass(slots=True, eq=False)
class LiveStream:
    """One request in flight. Its number is its name at the router and changes when it is submitted again."""

    number: int
    request: Request
    sink: StreamSink
    final_ids: frozenset[int]
    """Tokens after which nothing follows."""
    delivered: "array[int]" = field(init=False)
    """What its client has; a request may come with some of it."""
    is_cancelled: bool = False
    submitted_ms: float = 0.0
    """When it first was, on the clock of whoever submits it."""

    def __post_init__(self) -> None:
        self.delivered = self.request.delivered[:]

    def is_complete(self) -> bool:
        """Whether all tokens have come, and only the word of their end is missing."""
        sampling = self.request.sampling
        enough = len(self.delivered) > max(0, sampling.min_tokens - 1)
        return len(self.delivered) >= sampling.max_tokens or (enough and self.delivered[-1] in self.final_ids)

    def left_ms(self, now_ms: float) -> float | None:
        """How long until the request's deadline; None without one."""
        deadline_ms = self.request.deadline_ms
        return None if deadline_ms is None else deadline_ms - (now_ms - self.submitted_ms)

    def resumed_request(self, now_ms: float) -> Request:
        """The request with what the client already has, and what is left of its time; a stream that has a
        number was at a router before.
        """
        if not self.number:
            return self.request
        left_ms = self.left_ms(now_ms)
        deadline_ms = None if left_ms is None else max(1, int(left_ms))
        return replace(self.request, delivered=self.delivered[:], resubmitted=True, deadline_ms=deadline_ms)


class Streams(Protocol):
    """What carries requests to a router."""

    def submit(self, request: Request, sink: StreamSink, final_ids: frozenset[int]) -> LiveStream:
        """Send a request; raises `RouterUnavailable` or `TooManyConnections`."""

    def cancel(self, live: LiveStream) -> None:
        """Tell the router that nobody wants the rest."""
