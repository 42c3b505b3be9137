"""One choice of an answer: one stream at the router."""

from array import array
from collections.abc import Callable
from typing import Protocol

from services.common.domain import FinishReason, Receipt, TokenLogprobs
from services.common.domain.tokens import tokens
from services.common.errors import Cancelled, MeshError
from services.gateway.call.transcripts import BareTranscript, Transcript
from services.gateway.call.writers import Piece, Template
from services.gateway.links.streams import Placement

RESUMED_AT_ONCE_TOKENS = 8
NO_RECEIPT = Receipt(request_id="")
"""What a choice has whose receipt has not come; nobody changes it."""


class Whole(Protocol):
    """What a choice tells of itself to the answer that it belongs to."""

    write: Callable[[int, Piece], None]

    def placed(self, choice: "Choice", placement: Placement) -> None:
        """Take where it runs."""

    def template(self, number: int) -> Template | None:
        """What writes a choice's text from now on, if nothing but text is to be written."""

    def began(self, choice: "Choice") -> None:
        """Its first token is there."""

    def ended(self, choice: "Choice") -> None:
        """It is whole."""

    def failed(self, choice: "Choice", error: MeshError) -> None:
        """It will not be whole."""

    def left(self, choice: "Choice") -> None:
        """The router has ended the stream of an abandoned choice; what it cost is known."""


class Choice:
    """Takes one stream's tokens from the router (a `StreamSink`) and writes what they say.

    A stop string found in the text cancels the stream; the choice's end waits for the router's word, because
    the receipt comes with it.
    """

    __slots__ = (
        "_has_begun",
        "_is_over",
        "_is_silent",
        "_push",
        "_template",
        "_texts",
        "_transcript",
        "_whole",
        "_write",
        "cancel",
        "finish_reason",
        "generated_tokens",
        "is_open",
        "is_placed",
        "number",
        "receipt",
    )

    def __init__(self, number: int, transcript: Transcript, whole: Whole) -> None:
        self.number = number
        self.cancel: Callable[[], None] = lambda: None
        """Set once the request is submitted: tells the router that nobody wants the rest."""
        self.generated_tokens = 0
        self.is_open = False
        """Whether it is at the router, which has not said its outcome."""
        self.is_placed = False
        """Whether a worker was given the prompt, as far as the router has said."""
        self.finish_reason = ""
        """Empty until it is whole."""
        self.receipt = NO_RECEIPT
        self._transcript = transcript
        self._push = transcript.push
        self._template: Template | None = None
        """What writes a token's text without further ado, while the last one left nothing open."""
        self._texts = transcript.json_texts if isinstance(transcript, BareTranscript) else ()
        self._whole = whole
        self._write = whole.write
        self._has_begun = False
        self._is_silent = False
        self._is_over = False

    @property
    def stop_reason(self) -> str | None:
        """The stop string that ended it."""
        return self._transcript.stopped_by

    @property
    def reasoning_tokens(self) -> int:
        """Of the generated tokens."""
        return self._transcript.reasoning_tokens

    def on_placed(self, placement: Placement) -> None:
        """Note where it runs; the answer's head tells."""
        self.is_placed = True
        self._whole.placed(self, placement)

    def on_token(self, token_id: int) -> None:
        """Write what the next token says. Most say the same whatever came before: those are looked up."""
        template = self._template
        if template is not None and token_id < len(self._texts):
            text = self._texts[token_id]
            if text is not None and template.write(text):
                self.generated_tokens += 1
                return
        self.on_tokens(tokens([token_id]))

    def on_tokens(self, ids: "array[int]", logprobs: TokenLogprobs | None = None) -> None:
        """Write what the next tokens say."""
        if self._is_silent:
            return
        if not self._has_begun:
            self._has_begun = self.is_placed = True
            self._whole.began(self)
        self.generated_tokens += len(ids)
        piece = self._push(ids, logprobs)
        if piece is not None:
            self._write(self.number, piece)
        if self._transcript.is_stopped:
            self.silence()
        elif self._texts:
            self._template = self._find_template()

    def on_ended(self, reason: FinishReason, receipt: Receipt, vector: "array[float] | None" = None) -> None:
        """Write what was held back, and the end."""
        self.is_open = False
        self.is_placed = self.is_placed or receipt.path is not None
        if self._is_over:
            self.receipt = receipt
            self._whole.left(self)
            return
        if reason is FinishReason.CANCELLED and not self._transcript.is_stopped:
            self.receipt = receipt
            self.on_failed(Cancelled("the request was cancelled"))
            return
        self._end(reason, receipt)

    def on_failed(self, error: MeshError, receipt: Receipt | None = None) -> None:
        """Pass the error on, unless a stop string had ended the choice before."""
        self.is_open = False
        if receipt is not None:
            self.receipt = receipt
        if self._is_over:
            self._whole.left(self)
            return
        if self._transcript.is_stopped:
            self._end(FinishReason.STOP, self.receipt)
            return
        self._is_over = True
        self._whole.failed(self, error)

    def resume(self, delivered: "array[int]") -> bool:
        """Take tokens that the caller has already: they count, and their text is not written again.

        Returns whether a stop string is among it. A few at a time: a decoder that gets many at once does not
        wait for the rest of a character.
        """
        self.generated_tokens = len(delivered)
        for start in range(0, len(delivered), RESUMED_AT_ONCE_TOKENS):
            self._transcript.push(delivered[start : start + RESUMED_AT_ONCE_TOKENS], None)
            if self._transcript.is_stopped:
                return True
        return False

    def silence(self) -> None:
        """Nothing more is wanted: free its worker."""
        if not self._is_silent:
            self._is_silent = True
            self.cancel()

    def abandon(self) -> None:
        """Nobody wants to hear of it again."""
        self._is_over = True
        self.silence()

    def _find_template(self) -> Template | None:
        is_cut = isinstance(self._transcript, BareTranscript) and self._transcript.is_cut
        return None if is_cut else self._template or self._whole.template(self.number)

    def _end(self, reason: FinishReason, receipt: Receipt) -> None:
        piece = self._transcript.finish()
        if piece is not None:
            self._write(self.number, piece)
        self._is_over = True
        self.receipt = receipt
        word = "stop" if self._transcript.is_stopped else _WORDS.get(reason, "stop")
        self.finish_reason = self._transcript.finish_reason(word)
        self._whole.ended(self)


_WORDS = {FinishReason.STOP: "stop", FinishReason.LENGTH: "length"}
