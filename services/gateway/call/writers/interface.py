"""What the pipeline says to whoever writes an answer."""

from array import array
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from services.common.domain import Receipt
from services.common.domain.record import record
from services.common.errors import MeshError
from services.gateway.call.writers.piece import Piece
from services.gateway.links.streams import Placement

Header = tuple[str, str]


@record
class Usage:
    """Tokens of one call: each prompt once, the tokens of all choices."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    """Of the completion tokens."""


@record
class Opening:
    """What is known once a call is accepted, before its first token."""

    model: str
    """The model's name as the answer shows it."""
    created_s: int
    """Seconds since 1970."""
    prompts: "Sequence[array[int]]"
    """Token ids of each prompt. Choice number p * n + i is choice i of prompt p."""
    headers: tuple[Header, ...]
    """For the answer's head: what is left of the quota."""
    generated_tokens: Callable[[int], int]
    """Tokens that a choice has so far."""
    cancel: Callable[[MeshError], None]
    """To be called when nobody reads any more; harmless after the end."""


@record
class Ending:
    """How a whole answer ends."""

    usage: Usage
    receipts: Sequence[Receipt]
    """One for each choice; an empty one where the router was lost before its word."""
    extra: dict[str, Any]
    """Fields beside the API's own, ready for JSON."""


class Template(Protocol):
    """Writes parts of one answer that differ in their text alone. Called once per token."""

    def write(self, middle: bytes) -> bool:
        """Send a part around this text, a JSON string. Returns False, and sends nothing, while the client is
        behind or when it is gone.
        """


class Writer(Protocol):
    """Where an answer goes. Called in this order: `open`, then `on_placed`, `write` and `end_choice` as it
    comes, then once either `finish` or `fail`. A call that is refused is told by an exception of
    `Pipeline.start`, or of the coroutine that it returned, and nothing here is called. Must not block.
    """

    @property
    def is_open(self) -> bool:
        """Whether anybody still reads."""

    def open(self, opening: Opening) -> None:
        """Take what is known before the first token."""

    def on_placed(self, placement: Placement) -> None:
        """Take where the first choice runs; again when it is placed again."""

    def write(self, choice: int, piece: Piece) -> None:
        """Write what a choice gained."""

    def template(self, choice: int) -> Template | None:
        """Once `write` has been called: takes further pieces' text as JSON strings, where there is no other
        choice and pieces have nothing else; None where `write` must be used."""

    def end_choice(self, choice: int, finish_reason: str, stop_reason: int | str | None = None) -> None:
        """Write that a choice is whole: "stop", "length" or "tool_calls"; and which stop string it was."""

    def finish(self, ending: Ending) -> None:
        """Write the end, after the end of every choice."""

    def fail(self, error: MeshError) -> None:
        """Write that there is no whole answer."""
