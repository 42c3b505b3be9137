"""The lean path: plain text, without logprobs, tools or reasoning."""

from array import array
from collections.abc import Collection, Sequence

from services.common.domain import TokenLogprobs
from services.common.domain.tokens import tokens
from services.gateway.call.writers import Piece
from services.gateway.models.rendering import Detokenizer, StopMatcher


class PlainTranscript:
    """Decodes tokens and looks for stop strings (a `Transcript`).

    `min_tokens` keeps stop strings away; `begins_with` is shown before the first token's text;
    `hidden_ids`, the tokens that end the answer, are not shown.
    """

    __slots__ = (
        "_begins_with",
        "_detokenizer",
        "_hidden_ids",
        "_stops",
        "_tokens",
        "_unstoppable_tokens",
        "is_stopped",
    )

    reasoning_tokens = 0

    def __init__(
        self,
        detokenizer: Detokenizer,
        stops: Sequence[str] = (),
        *,
        shows_stop: bool = False,
        min_tokens: int = 0,
        begins_with: str = "",
        hidden_ids: Collection[int] = (),
    ) -> None:
        self.is_stopped = False
        self._detokenizer = detokenizer
        self._stops = StopMatcher(stops, is_shown=shows_stop) if stops else None
        self._unstoppable_tokens = min_tokens
        self._tokens = 0
        self._begins_with = begins_with
        self._hidden_ids = frozenset(hidden_ids)

    @property
    def stopped_by(self) -> str | None:
        """The stop string that ended it."""
        return self._stops.stopped_by if self._stops is not None else None

    def push(self, ids: "array[int]", logprobs: TokenLogprobs | None) -> Piece | None:
        """The text that these tokens add."""
        text = self._decoded(ids) if self._stops is None else self._up_to_stop(self._stops, ids)
        if self._begins_with:
            text, self._begins_with = self._begins_with + text, ""
        return Piece(text) if text else None

    def finish(self) -> Piece | None:
        """What a decoder or the search for stop strings still held back."""
        if self.is_stopped:
            return None
        text = self._detokenizer.finish()
        if self._stops is not None:
            is_free = self._tokens <= self._unstoppable_tokens
            text = (self._stops.pass_over if is_free else self._stops.push)(text) if text else ""
            text += self._stops.finish()
            self.is_stopped = self._stops.stopped_by is not None
        text, self._begins_with = self._begins_with + text, ""
        return Piece(text) if text else None

    def finish_reason(self, reason: str) -> str:
        """The engine's word."""
        return reason

    def _decoded(self, ids: "array[int]") -> str:
        if self._hidden_ids:
            ids = tokens([i for i in ids if i not in self._hidden_ids])
        return self._detokenizer.push(ids)

    def _up_to_stop(self, stops: StopMatcher, ids: "array[int]") -> str:
        """What can be shown of them; however they come together, none of the first few ends a stop string."""
        free = max(0, self._unstoppable_tokens - self._tokens)
        self._tokens += len(ids)
        text = stops.pass_over(self._decoded(ids[:free])) if free else ""
        if len(ids) > free:
            text += stops.push(self._decoded(ids[free:]))
            self.is_stopped = stops.stopped_by is not None
        return text


class BareTranscript(PlainTranscript):
    """Of nothing but text: no stop strings, nothing hidden, nothing before it: of most answers."""

    __slots__ = ("_decode", "json_texts")

    def __init__(self, detokenizer: Detokenizer) -> None:
        super().__init__(detokenizer)
        self._decode = detokenizer.push
        self.json_texts = detokenizer.json_texts
        """By token id, what `push` would give as a JSON string, unless `is_cut`; with None, and past the end,
        only `push` knows."""

    @property
    def is_cut(self) -> bool:
        """Whether the beginning of a character waits for its rest."""
        return self._detokenizer.is_cut

    def push(self, ids: "array[int]", logprobs: TokenLogprobs | None) -> Piece | None:
        """The text that these tokens add."""
        text = self._decode(ids)
        return Piece(text) if text else None
