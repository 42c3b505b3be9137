"""Beside the text: token ids, and how likely tokens were."""

import math
from array import array
from collections.abc import Callable, Iterator

import msgspec

from services.common.domain import TokenLogprobs
from services.gateway.call.transcripts.interface import Transcript
from services.gateway.call.writers import Piece, TokenLikelihood

LOGPROB_MIN = -9999.0
"""What JSON shows of minus infinity."""

_NOTHING = Piece()


def name_by_id(token_id: int) -> tuple[str, bytes]:
    """A token's text and bytes for callers that want its id in place of its text, as vLLM writes it."""
    text = f"token_id:{token_id}"
    return text, text.encode()


class DetailedTranscript:
    """Adds details to another transcript's pieces (a `Transcript`).

    A piece comes with every frame, also while its text is held back: details are of the frame's own tokens.
    """

    __slots__ = ("_has_ids", "_inner", "_name")

    def __init__(self, inner: Transcript, name: Callable[[int], tuple[str, bytes]], *, has_ids: bool) -> None:
        self._inner = inner
        self._name = name
        self._has_ids = has_ids

    @property
    def is_stopped(self) -> bool:
        """Whether a stop string has ended the choice."""
        return self._inner.is_stopped

    @property
    def stopped_by(self) -> str | None:
        """The stop string that did."""
        return self._inner.stopped_by

    @property
    def reasoning_tokens(self) -> int:
        """Tokens spent on reasoning."""
        return self._inner.reasoning_tokens

    def push(self, ids: "array[int]", logprobs: TokenLogprobs | None) -> Piece | None:
        """What these tokens add."""
        piece = self._inner.push(ids, logprobs) or _NOTHING
        likelihoods = tuple(self._likelihoods(ids, logprobs)) if logprobs is not None else ()
        return msgspec.structs.replace(piece, token_ids=ids if self._has_ids else None, logprobs=likelihoods)

    def finish(self) -> Piece | None:
        """What was still held back."""
        return self._inner.finish()

    def finish_reason(self, reason: str) -> str:
        """The word for the end."""
        return self._inner.finish_reason(reason)

    def _likelihoods(self, ids: "array[int]", logprobs: TokenLogprobs) -> Iterator[TokenLikelihood]:
        k = logprobs.alternatives
        for position, (token_id, logprob) in enumerate(zip(ids, logprobs.chosen, strict=False)):
            beside = range(position * k, position * k + k)
            top = tuple(self._likelihood(logprobs.top_ids[i], logprobs.top[i]) for i in beside)
            yield self._likelihood(token_id, logprob, top)

    def _likelihood(
        self, token_id: int, logprob: float, top: tuple[TokenLikelihood, ...] = ()
    ) -> TokenLikelihood:
        text, piece = self._name(token_id)
        shown = logprob if math.isfinite(logprob) else LOGPROB_MIN
        return TokenLikelihood(token_id, text, piece, max(shown, LOGPROB_MIN), top)


class SilentTranscript:
    """For callers that want token ids and no text (a `Transcript`)."""

    __slots__ = ()

    is_stopped = False
    stopped_by = None
    reasoning_tokens = 0

    def push(self, ids: "array[int]", logprobs: TokenLogprobs | None) -> Piece | None:
        """No text."""
        return None

    def finish(self) -> Piece | None:
        """Nothing is held back."""
        return None

    def finish_reason(self, reason: str) -> str:
        """The engine's word."""
        return reason
