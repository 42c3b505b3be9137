"""One generation's answer: tokens from the router become text, and text becomes what the client reads."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass

from services.common.clock import Clock
from services.common.domain import FinishReason, Receipt, TokenLogprobs
from services.common.errors import Cancelled, MeshError
from services.gateway.metrics import Metrics
from services.gateway.openai.format import Usage, receipt_json
from services.gateway.openai.generation import Generation
from services.gateway.rendering import Detokenizer, StopMatcher
from services.gateway.streams import Placement
from services.gateway.writers import Ending, Writer


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer needs to know of its question."""

    generation: Generation
    prompt_tokens: int
    received_ms: float


class Answer:
    """Takes one stream's tokens from the router (a `StreamSink`) and writes the answer.

    Text is made here; a stop string found in it cancels the stream at the router and ends the answer.
    The answer's end waits for the router's word, because the receipt comes with it.
    """

    __slots__ = (
        "_asked",
        "_clock",
        "_detokenizer",
        "_first_ms",
        "_generated_tokens",
        "_is_over",
        "_is_stopped",
        "_metrics",
        "_stops",
        "_unstoppable_tokens",
        "_writer",
        "cancel",
    )

    def __init__(
        self,
        asked: Asked,
        detokenizer: Detokenizer,
        writer: Writer,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.cancel: Callable[[], None] = lambda: None
        """Set once the request is submitted: tells the router that nobody wants the rest."""
        self._asked = asked
        self._detokenizer = detokenizer
        self._writer = writer
        self._metrics = metrics
        self._clock = clock
        generation = asked.generation
        stops = generation.stops
        self._stops = StopMatcher(stops, is_shown=generation.shows_stop) if stops else None
        self._unstoppable_tokens = generation.sampling.min_tokens
        self._generated_tokens = 0
        self._is_stopped = False
        self._is_over = False
        self._first_ms = 0.0

    # What the router says.

    def on_placed(self, placement: Placement) -> None:
        """Note where it runs; the answer's head tells."""
        self._writer.on_placed(placement)

    def on_tokens(self, ids: "array[int]", logprobs: TokenLogprobs | None = None) -> None:
        """Write the text of the next tokens."""
        if self._is_stopped:
            return
        if not self._generated_tokens:
            self._first_ms = self._clock.now_ms()
            self._metrics.ttft_seconds.observe((self._first_ms - self._asked.received_ms) / 1000.0)
        self._generated_tokens += len(ids)
        text = self._detokenizer.push(ids)
        if self._stops is not None:
            text = self._up_to_stop(self._stops, text)
        if text:
            self._writer.write(text)

    def on_ended(self, reason: FinishReason, receipt: Receipt) -> None:
        """Write the end."""
        if self._is_over:
            return
        if not self._is_stopped:
            if reason is FinishReason.CANCELLED:
                self.on_failed(Cancelled("the request was cancelled"))
                return
            self._write_rest()
        self._finish("stop" if self._is_stopped else _WORDS[reason], receipt)

    def on_failed(self, error: MeshError) -> None:
        """Write the error, unless a stop string had ended the answer before."""
        if self._is_over:
            return
        if self._is_stopped:
            self._finish("stop", Receipt(request_id=""))
            return
        self._close(Receipt(request_id=""))
        self._writer.fail(error)

    # What the client does.

    def on_gone(self, _: MeshError) -> None:
        """Nobody reads any more."""
        if not self._is_over:
            self._is_stopped = True
            self._close(Receipt(request_id=""))
            self.cancel()

    def _up_to_stop(self, stops: StopMatcher, text: str) -> str:
        if self._generated_tokens <= self._unstoppable_tokens:
            return text
        text = stops.push(text)
        if stops.stopped_by is not None:
            self._is_stopped = True
            self.cancel()
        return text

    def _write_rest(self) -> None:
        """What a decoder or the search for stop strings still held back."""
        text = self._detokenizer.finish()
        if self._stops is not None:
            text = self._stops.push(text) if text else ""
            text += self._stops.finish()
            self._is_stopped = self._stops.stopped_by is not None
        if text:
            self._writer.write(text)

    def _finish(self, finish_reason: str, receipt: Receipt) -> None:
        asked = self._asked
        usage = Usage(asked.prompt_tokens, self._generated_tokens, receipt.cached_tokens)
        extra = {"pdmesh": receipt_json(receipt)} if asked.generation.includes_receipt else {}
        self._close(receipt)
        self._writer.finish(Ending(finish_reason, usage, extra))

    def _close(self, receipt: Receipt) -> None:
        """Nothing follows: say to the log line and the metrics what the answer took."""
        self._is_over = True
        notes = self._writer.notes
        notes["prompt_tokens"] = self._asked.prompt_tokens
        notes["generated_tokens"] = self._generated_tokens
        self._metrics.prompt_tokens.inc(self._asked.prompt_tokens)
        self._metrics.generated_tokens.inc(self._generated_tokens)
        if self._first_ms:
            notes["ttft_ms"] = round(self._first_ms - self._asked.received_ms, 3)
            self._observe_gap()
        if receipt.request_id:
            notes["receipt"] = receipt_json(receipt)

    def _observe_gap(self) -> None:
        if self._generated_tokens > 1:
            gap_ms = (self._clock.now_ms() - self._first_ms) / (self._generated_tokens - 1)
            self._metrics.tpot_seconds.observe(gap_ms / 1000.0)


_WORDS = {FinishReason.STOP: "stop", FinishReason.LENGTH: "length"}
