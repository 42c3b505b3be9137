"""What turns the tokens of one choice into pieces of an answer."""

from array import array
from typing import Protocol

from services.common.domain import TokenLogprobs
from services.gateway.call.writers import Piece


class Transcript(Protocol):
    """One choice's transcript; called once per frame, so it is the hot path."""

    @property
    def is_stopped(self) -> bool:
        """Whether a stop string has ended the choice: nothing more is wanted."""

    @property
    def stopped_by(self) -> str | None:
        """The stop string that did."""

    def push(self, ids: "array[int]", logprobs: TokenLogprobs | None) -> Piece | None:
        """What these tokens add; `None` while there is nothing to show."""

    def finish(self) -> Piece | None:
        """What was still held back, after the last token."""

    def finish_reason(self, reason: str) -> str:
        """The word for the end, given the engine's ("stop" or "length")."""

    @property
    def reasoning_tokens(self) -> int:
        """Tokens spent on reasoning."""
