"""What the pipeline asks of a model's way of writing tool calls and reasoning."""

from array import array
from collections.abc import Sequence
from typing import Protocol

from services.common.domain import Structured
from services.common.errors import InvalidField
from services.gateway.call.generation import Generation
from services.gateway.call.writers import Piece


class AnswerReader(Protocol):
    """Reads one choice's text as it comes."""

    @property
    def calls_tools(self) -> bool:
        """Whether it has found a tool call so far."""

    @property
    def reasoning_tokens(self) -> int:
        """Tokens spent on reasoning so far."""

    def push(self, text: str, ids: "array[int]") -> Piece | None:
        """What these tokens, which say this text, add."""

    def finish(self, text: str) -> Piece | None:
        """What was still held back, given the last text."""


class Reading(Protocol):
    """How the answers of one call are to be read."""

    @property
    def structured(self) -> Structured | None:
        """The constraint that makes the model write what can be read, the call's own included."""

    @property
    def shows_special(self) -> bool:
        """Whether special tokens must be in the text, because they mark what is to be read."""

    @property
    def hides_reasoning(self) -> bool:
        """Whether details of tokens must be left out, because they would tell the reasoning."""

    def open(self, prompt: "Sequence[int]") -> AnswerReader:
        """A reader for one choice of a prompt."""


class Parsing(Protocol):
    """A model's own way of writing tool calls and reasoning."""

    def reading_of(self, generation: Generation) -> Reading | None:
        """How to read a call's answers; `None` where they are plain text. Raises `InvalidField`."""


class NoParsing:
    """Of a gateway without parsers: answers are plain text, and tools cannot be called."""

    def reading_of(self, generation: Generation) -> None:
        """Nothing to read; raises `InvalidField` for a call with tools."""
        if generation.tools is not None and generation.tools.is_on:
            raise InvalidField(
                'tools: this gateway has no --tool-call-parser, so tool_choice can only be "none"',
                field="tools",
            )
