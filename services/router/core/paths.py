"""Path policies: whether a text is worth a handoff. Only uncached tokens count."""

from typing import Protocol

from services.common.domain import Path, Receipt, Request
from services.common.domain.record import record
from services.router.core.config import CoreConfig
from services.router.core.fit import DecayedFit


@record
class PathChoice:
    """A path and why, as the receipt says it."""

    path: Path
    reason: str


SHORT = PathChoice(Path.LOCAL, "short_prompt")
CACHED = PathChoice(Path.LOCAL, "cached_prompt")
LONG = PathChoice(Path.DISAGGREGATED, "long_prompt")
DEMANDED = PathChoice(Path.DISAGGREGATED, "demanded")
REPLAYED = PathChoice(Path.LOCAL, "replay")
NOT_REPLAYED = PathChoice(Path.LOCAL, "sampling")


class PathPolicy(Protocol):
    """Chooses the path of a request."""

    def choose(self, request: Request, text_tokens: int, cached_tokens: int = 0) -> PathChoice:
        """The path for a text of which some decode worker has so many tokens."""

    def learn(self, receipt: Receipt) -> None:
        """Take a finished request's times in."""

    def set_local_tokens_max(self, tokens: int) -> None:
        """Take another threshold."""


class LengthThreshold:
    """Texts with little to run go local."""

    def __init__(self, config: CoreConfig) -> None:
        self._local_tokens_max = config.local_prompt_tokens_max

    @property
    def local_tokens_max(self) -> int:
        """Up to so many uncached tokens a text is run where it is decoded."""
        return self._local_tokens_max

    def set_local_tokens_max(self, tokens: int) -> None:
        """Take another threshold."""
        self._local_tokens_max = tokens

    def choose(self, request: Request, text_tokens: int, cached_tokens: int = 0) -> PathChoice:
        """The path for a text of which some decode worker has so many tokens."""
        if request.strict_disaggregation:
            return DEMANDED
        if text_tokens <= self._local_tokens_max:
            return SHORT
        if text_tokens - cached_tokens <= self._local_tokens_max:
            return CACHED
        return LONG

    def learn(self, receipt: Receipt) -> None:
        """Nothing: the threshold is fixed."""


class LearntThreshold(LengthThreshold):
    """The break-even length from measured times.

    Running n uncached tokens on the decode worker costs n * d * (1 + i) milliseconds, where d is its time per
    token and i what its other requests lose meanwhile. Sending them costs n * p + h + n * k: the prefill
    worker's time per token, the handoff's fixed part and its part per token. Local pays up to
    n = h / (d * (1 + i) - p - k), and always when the denominator is not positive.
    """

    def __init__(self, config: CoreConfig) -> None:
        super().__init__(config)
        self._config = config
        self._local, self._remote, self._handoff = (DecayedFit(config.learning_samples) for _ in range(3))

    def set_local_tokens_max(self, tokens: int) -> None:
        """Begin at another threshold; measurements move it again."""
        super().set_local_tokens_max(tokens)
        self._local, self._remote, self._handoff = (
            DecayedFit(self._config.learning_samples) for _ in range(3)
        )

    def learn(self, receipt: Receipt) -> None:
        """Take a finished request's times in; one that was placed again tells nothing clear."""
        uncached = receipt.prompt_tokens - receipt.cached_tokens
        if receipt.retries or receipt.prefill_ms <= 0 or uncached <= 0:
            return
        (self._remote if receipt.path is Path.DISAGGREGATED else self._local).add(
            uncached, receipt.prefill_ms
        )
        if receipt.path is Path.DISAGGREGATED and receipt.handoff_ms > 0:
            self._handoff.add(receipt.prompt_tokens, receipt.handoff_ms)
        self._local_tokens_max = self._break_even()

    def _break_even(self) -> int:
        config = self._config
        fits = (self._local, self._remote, self._handoff)
        if min(fit.samples for fit in fits) < config.learning_samples_min:
            return self._local_tokens_max
        local_ms, remote_ms, handoff_ms = (fit.per_unit for fit in fits)
        saved_ms = local_ms * (1 + config.local_interference) - remote_ms - handoff_ms
        bounds = config.learnt_local_tokens_min, config.learnt_local_tokens_max
        if saved_ms <= 0:
            return bounds[1]
        return int(min(max(self._handoff.fixed / saved_ms, bounds[0]), bounds[1]))
