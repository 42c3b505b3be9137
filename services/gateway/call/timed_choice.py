"""A choice whose gaps between tokens are measured, as its client gets them."""

from array import array

from services.common.clock import Clock
from services.common.domain import TokenLogprobs
from services.common.telemetry.tallies import Spread
from services.gateway.call.choice import Choice, Whole
from services.gateway.call.transcripts import Transcript


class TimedChoice(Choice):
    """Observes the gap before each token in seconds; tokens that came in one frame have none between them."""

    __slots__ = ("_clock", "_gaps", "_last_ms", "_timed_tokens")

    def __init__(self, number: int, transcript: Transcript, whole: Whole, gaps: Spread, clock: Clock) -> None:
        super().__init__(number, transcript, whole)
        self._gaps, self._clock = gaps, clock
        self._last_ms = 0.0
        self._timed_tokens = 0

    def on_token(self, token_id: int) -> None:
        """Write what the next token says."""
        super().on_token(token_id)
        self._observe()

    def on_tokens(self, ids: "array[int]", logprobs: TokenLogprobs | None = None) -> None:
        """Write what the next tokens say."""
        super().on_tokens(ids, logprobs)
        self._observe()

    def resume(self, delivered: "array[int]") -> bool:
        """Take tokens that the caller has already; they have no gaps."""
        is_stopped = super().resume(delivered)
        self._timed_tokens = self.generated_tokens
        return is_stopped

    def _observe(self) -> None:
        new_tokens = self.generated_tokens - self._timed_tokens
        if new_tokens <= 0:
            return
        now_ms = self._clock.now_ms()
        if self._last_ms:
            self._gaps.observe((now_ms - self._last_ms) / 1000.0)
        for _ in range(new_tokens - 1):
            self._gaps.observe(0.0)
        self._timed_tokens, self._last_ms = self.generated_tokens, now_ms
