"""Answers in which tool calls and reasoning are to be found."""

from array import array

from services.common.domain import TokenLogprobs
from services.gateway.call.transcripts.plain import PlainTranscript
from services.gateway.call.writers import Piece
from services.gateway.models.parsing import AnswerReader


class ParsedTranscript:
    """Reads what a plain transcript says (a `Transcript`). `named` is the one tool that had to be called."""

    __slots__ = ("_named", "_plain", "_reader")

    def __init__(self, plain: PlainTranscript, reader: AnswerReader, *, named: str = "") -> None:
        self._plain = plain
        self._reader = reader
        self._named = named

    @property
    def is_stopped(self) -> bool:
        """Whether a stop string has ended the choice."""
        return self._plain.is_stopped

    @property
    def stopped_by(self) -> str | None:
        """The stop string that did."""
        return self._plain.stopped_by

    @property
    def reasoning_tokens(self) -> int:
        """Tokens spent on reasoning."""
        return self._reader.reasoning_tokens

    def push(self, ids: "array[int]", logprobs: TokenLogprobs | None) -> Piece | None:
        """What these tokens add, once it is clear what they are."""
        piece = self._plain.push(ids, logprobs)
        return self._reader.push(piece.text if piece is not None else "", ids)

    def finish(self) -> Piece | None:
        """What was still held back."""
        piece = self._plain.finish()
        return self._reader.finish(piece.text if piece is not None else "")

    def finish_reason(self, reason: str) -> str:
        """The word for the end. As OpenAI has it, a call that was demanded by its name ends with "stop"."""
        calls = reason == "stop" and self._reader.calls_tools and not self._named
        return "tool_calls" if calls else reason
