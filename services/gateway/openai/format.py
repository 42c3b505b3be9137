"""Answers as OpenAI writes them: whole bodies, and server-sent events from prebuilt bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from services.common.domain import Receipt
from services.gateway.call import Call
from services.gateway.writers import Ending, Opening, Piece, Usage

DONE = b"data: [DONE]\n\n"
EVENT_STREAM = "text/event-stream; charset=utf-8"

_to_json = msgspec.json.encode


@dataclass(frozen=True, slots=True)
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

    def body(self, choices: Sequence[WholeChoice], ending: Ending) -> bytes:
        """A whole answer."""


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


class _Format:
    """What both kinds share: the fields around `choices`, and events with only their text left open."""

    __slots__ = ("_call", "_fields", "_has_usage", "_opening", "_tail", "_templates")

    stream_object = ""
    body_object = ""
    id_prefix = ""

    def __init__(self, call: Call, opening: Opening) -> None:
        self._call = call
        self._opening = opening
        self._has_usage = call.generation.includes_usage
        self._fields = {
            "id": self.id_prefix + call.request_id,
            "created": opening.created_s,
            "model": opening.model,
        }
        self._tail = {"usage": None} if self._has_usage else {}
        self._templates: dict[int, tuple[bytes, bytes]] = {}

    def delta(self, choice: int, piece: Piece) -> bytes:
        """The event of a piece; of plain text, only the text itself is encoded."""
        before, after = self._templates.get(choice) or self._template(choice)
        return b"%b%b%b" % (before, _to_json(piece.text), after)

    def end(self, choice: WholeChoice) -> bytes:
        """The event that ends a choice."""
        return self._event([self._end(choice)], self._tail)

    def closing(self, last: WholeChoice, ending: Ending) -> bytes:
        """The events that end a stream; what is extra joins the last."""
        if not self._has_usage:
            return self._event([self._end(last)], self._tail | ending.extra) + DONE
        usage = self._event([], {"usage": usage_json(ending.usage)} | ending.extra)
        return self._event([self._end(last)], self._tail) + usage + DONE

    def _template(self, choice: int) -> tuple[bytes, bytes]:
        mark = "\x01delta\x02"
        event = self._event([self._choice(choice, mark, None)], self._tail)
        before, after = event.split(_to_json(mark))
        self._templates[choice] = before, after
        return before, after

    def _end(self, choice: WholeChoice) -> dict[str, Any]:
        return self._choice(choice.number, None, choice.finish_reason)

    def _choice(self, number: int, text: str | None, finish_reason: str | None) -> dict[str, Any]:
        raise NotImplementedError

    def _event(self, choices: list[dict[str, Any]], tail: dict[str, Any]) -> bytes:
        event = {**self._fields, "object": self.stream_object, "choices": choices, **tail}
        return b"data: " + _to_json(event) + b"\n\n"

    def _body(self, choices: list[dict[str, Any]], ending: Ending) -> bytes:
        fields = {**self._fields, "object": self.body_object, "choices": choices}
        return _to_json({**fields, "usage": usage_json(ending.usage), **ending.extra})


class ChatFormat(_Format):
    """Chat completions."""

    __slots__ = ()
    stream_object = "chat.completion.chunk"
    body_object = "chat.completion"
    id_prefix = "chatcmpl-"

    def opening(self) -> bytes:
        """The events that say whose turn it is, one for each choice."""
        generation = self._call.generation
        turn = {"role": "assistant", "content": ""}
        choices = [
            self._choice(number, None, None) | {"delta": turn}
            for number in range(generation.n * len(generation.prompts))
        ]
        return b"".join([self._event([choice], self._tail) for choice in choices])

    def body(self, choices: Sequence[WholeChoice], ending: Ending) -> bytes:
        """A whole answer."""
        return self._body([self._whole(choice) for choice in choices], ending)

    def _whole(self, choice: WholeChoice) -> dict[str, Any]:
        message = {"role": "assistant", "content": choice.piece.text, "refusal": None}
        return {
            "index": choice.number,
            "message": message,
            "logprobs": None,
            "finish_reason": choice.finish_reason,
        }

    def _choice(self, number: int, text: str | None, finish_reason: str | None) -> dict[str, Any]:
        delta = {} if text is None else {"content": text}
        return {"index": number, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


class CompletionFormat(_Format):
    """Plain completions."""

    __slots__ = ()
    stream_object = "text_completion"
    body_object = "text_completion"
    id_prefix = "cmpl-"

    def opening(self) -> bytes:
        """Nothing comes before the text."""
        return b""

    def body(self, choices: Sequence[WholeChoice], ending: Ending) -> bytes:
        """A whole answer."""
        made = [self._choice(choice.number, choice.piece.text, choice.finish_reason) for choice in choices]
        return self._body(made, ending)

    def _choice(self, number: int, text: str | None, finish_reason: str | None) -> dict[str, Any]:
        return {"index": number, "text": text or "", "logprobs": None, "finish_reason": finish_reason}


def receipt_json(receipt: Receipt) -> dict[str, Any]:
    """A receipt for people and programs; milliseconds with three decimals."""
    made = {name: getattr(receipt, name) for name in Receipt.__dataclass_fields__}
    made["path"] = receipt.path.name.lower() if receipt.path is not None else None
    made["handoff_gb_per_s"] = receipt.handoff_gb_per_s
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in made.items()}
