"""Answers as OpenAI writes them: whole bodies, and server-sent events from prebuilt bytes."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from services.common.domain import ServiceClass
from services.common.domain.record import record
from services.common.errors import MeshError
from services.gateway.call.call import Call
from services.gateway.call.writers import Ending, Opening, Piece, Usage
from services.gateway.rest.openai.errors import error_event

DONE = b"data: [DONE]\n\n"
EVENT_STREAM = "text/event-stream; charset=utf-8"

_to_json = msgspec.json.encode


@record
class WholeChoice:
    """One choice at its end; in a stream the piece is empty, because it has been written."""

    number: int
    piece: Piece
    finish_reason: str
    stop_reason: int | str | None


class AnswerFormat(Protocol):
    """How one kind of answer is written."""

    def opening(self) -> bytes:
        """Events before the first piece."""

    def delta(self, choice: int, piece: Piece) -> bytes:
        """The event of a piece."""

    def end(self, choice: WholeChoice) -> bytes:
        """The event that ends a choice, while others go on."""

    def closing(self, last: WholeChoice, ending: Ending) -> bytes:
        """The events that end the last choice and the stream."""

    def failed(self, error: MeshError) -> bytes:
        """The event that ends a stream which breaks off."""

    def body(self, choices: Sequence[WholeChoice], ending: Ending) -> bytes:
        """A whole answer."""

    def around(self, choice: int) -> tuple[bytes, bytes] | None:
        """What stands before and after the text, as a JSON string, in the event of a piece of nothing else;
        None where events differ in more than that."""


class FormatType(Protocol):
    """Makes the format of one answer."""

    def __call__(self, call: Call, opening: Opening) -> AnswerFormat:
        """The format of one answer."""


def usage_json(usage: Usage) -> dict[str, Any]:
    """OpenAI's `usage` object."""
    made: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
    if usage.reasoning_tokens:
        made["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return made


class OpenAiFormat:
    """What chats and plain completions share: the fields around `choices`, and a template for plain text.

    Most pieces are plain text: of their event only the text is encoded. Anything else is encoded whole.
    """

    __slots__ = ("_call", "_fields", "_generation", "_has_details", "_opening", "_tail", "_templates")

    stream_object = ""
    body_object = ""
    id_prefix = ""

    def __init__(self, call: Call, opening: Opening) -> None:
        self._call = call
        self._opening = opening
        self._generation = generation = call.generation
        self._has_details = (
            generation.returns_token_ids
            or generation.includes_running_usage
            or generation.sampling.logprobs is not None
        )
        self._fields: dict[str, Any] = {
            "id": self.id_prefix + call.request_id,
            "created": opening.created_s,
            "model": opening.model,
        }
        if generation.service_class is not None:
            self._fields["service_tier"] = TIERS[call.service_class]
        self._tail: dict[str, Any] = {"usage": None} if generation.includes_usage else {}
        self._templates: dict[int, tuple[bytes, bytes]] = {}

    def delta(self, choice: int, piece: Piece) -> bytes:
        """The event of a piece."""
        if self._has_details or piece.reasoning or piece.tool_calls:
            return self._event([self._detailed(choice, piece)], self._tail_of(choice))
        before, after = self._templates.get(choice) or self._template(choice)
        return b"%b%b%b" % (before, _to_json(piece.text), after)

    def around(self, choice: int) -> tuple[bytes, bytes] | None:
        """What stands before and after the text in the event of a piece."""
        return None if self._has_details else self._templates.get(choice) or self._template(choice)

    def end(self, choice: WholeChoice) -> bytes:
        """The event that ends a choice."""
        return self._event([self._end(choice)], self._tail_of(choice.number))

    def closing(self, last: WholeChoice, ending: Ending) -> bytes:
        """The events that end a stream; what is extra joins the last."""
        tail = self._tail_of(last.number)
        if not self._generation.includes_usage:
            return self._event([self._end(last)], tail | ending.extra) + DONE
        usage = self._event([], {"usage": usage_json(ending.usage)} | ending.extra)
        return self._event([self._end(last)], tail) + usage + DONE

    def failed(self, error: MeshError) -> bytes:
        """The error; without `[DONE]`, for the answer is not whole."""
        return error_event(error)

    def _template(self, choice: int) -> tuple[bytes, bytes]:
        mark = "\x01delta\x02"
        event = self._event([self._choice(choice, mark, None)], self._tail)
        before, after = event.split(_to_json(mark))
        self._templates[choice] = before, after
        return before, after

    def _tail_of(self, choice: int, *, begins: bool = False) -> dict[str, Any]:
        """What follows the choices of an event: nothing, or the usage so far."""
        if not self._generation.includes_running_usage:
            return self._tail
        prompt = self._opening.prompts[choice // self._generation.n]
        generated_tokens = 0 if begins else self._opening.generated_tokens(choice)
        return {"usage": usage_json(Usage(len(prompt), generated_tokens))}

    def _end(self, choice: WholeChoice) -> dict[str, Any]:
        made = self._choice(choice.number, None, choice.finish_reason)
        return made if choice.stop_reason is None else made | {"stop_reason": choice.stop_reason}

    def _choice(self, number: int, text: str | None, finish_reason: str | None) -> dict[str, Any]:
        """A choice in an event."""
        raise NotImplementedError

    def _detailed(self, number: int, piece: Piece) -> dict[str, Any]:
        """A choice in an event that is not plain text alone."""
        raise NotImplementedError

    def _event(self, choices: list[dict[str, Any]], tail: dict[str, Any]) -> bytes:
        event = {**self._fields, "object": self.stream_object, "choices": choices, **tail}
        return b"data: " + _to_json(event) + b"\n\n"

    def _body(self, choices: list[dict[str, Any]], ending: Ending) -> bytes:
        fields = {**self._fields, "object": self.body_object, "choices": choices}
        return _to_json({**fields, "usage": usage_json(ending.usage), **ending.extra})


TIERS = {
    ServiceClass.INTERACTIVE: "priority",
    ServiceClass.STANDARD: "default",
    ServiceClass.BATCH: "flex",
}
"""Classes under the names of OpenAI's `service_tier`."""
