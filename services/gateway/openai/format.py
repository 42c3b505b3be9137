"""Answers as OpenAI writes them: whole bodies, and server-sent events from prebuilt bytes."""

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from services.common.domain import Receipt

DONE = b"data: [DONE]\n\n"
EVENT_STREAM = "text/event-stream; charset=utf-8"

_to_json = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0

    def as_json(self) -> dict[str, Any]:
        """OpenAI's `usage` object."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


class AnswerFormat(Protocol):
    """How one kind of answer is written."""

    def opening(self) -> bytes:
        """Events before the first text."""

    def delta(self, text: str) -> bytes:
        """The event of some text."""

    def closing(self, finish_reason: str, usage: Usage | None, extra: dict[str, Any]) -> bytes:
        """The events that end a stream: finish reason, usage if wanted, `[DONE]`; `extra` joins the last."""

    def body(self, text: str, finish_reason: str, usage: Usage, extra: dict[str, Any]) -> bytes:
        """A whole answer."""


class _Format:
    """What both kinds share: the fields around `choices`, and events with only their delta left open."""

    __slots__ = ("_after", "_before", "_fields", "_tail")

    stream_object = ""
    body_object = ""
    id_prefix = ""

    def __init__(self, request_id: str, created_s: int, model: str, *, has_usage: bool) -> None:
        self._fields = {"id": self.id_prefix + request_id, "created": created_s, "model": model}
        self._tail = {"usage": None} if has_usage else {}
        mark = "\x01delta\x02"
        before, after = self._event([self._choice(mark, None)], self._tail).split(_to_json(mark))
        self._before, self._after = before, after

    def delta(self, text: str) -> bytes:
        """The event of some text; only the text itself is encoded."""
        return b"%b%b%b" % (self._before, _to_json(text), self._after)

    def closing(self, finish_reason: str, usage: Usage | None, extra: dict[str, Any]) -> bytes:
        """The events that end a stream."""
        if usage is None:
            return self._event([self._choice(None, finish_reason)], self._tail | extra) + DONE
        last = self._event([], {"usage": usage.as_json()} | extra)
        return self._event([self._choice(None, finish_reason)], self._tail) + last + DONE

    def _choice(self, text: str | None, finish_reason: str | None) -> dict[str, Any]:
        raise NotImplementedError

    def _event(self, choices: list[dict[str, Any]], tail: dict[str, Any]) -> bytes:
        event = {**self._fields, "object": self.stream_object, "choices": choices, **tail}
        return b"data: " + _to_json(event) + b"\n\n"

    def _body(self, choice: dict[str, Any], usage: Usage, extra: dict[str, Any]) -> bytes:
        fields = {**self._fields, "object": self.body_object, "choices": [choice]}
        return _to_json({**fields, "usage": usage.as_json(), **extra})


class ChatFormat(_Format):
    """Chat completions."""

    __slots__ = ()
    stream_object = "chat.completion.chunk"
    body_object = "chat.completion"
    id_prefix = "chatcmpl-"

    def opening(self) -> bytes:
        """The event that says whose turn it is."""
        choice = {**self._choice(None, None), "delta": {"role": "assistant", "content": ""}}
        return self._event([choice], self._tail)

    def body(self, text: str, finish_reason: str, usage: Usage, extra: dict[str, Any]) -> bytes:
        """A whole answer."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        return self._body(choice, usage, extra)

    def _choice(self, text: str | None, finish_reason: str | None) -> dict[str, Any]:
        delta = {} if text is None else {"content": text}
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


class CompletionFormat(_Format):
    """Plain completions."""

    __slots__ = ()
    stream_object = "text_completion"
    body_object = "text_completion"
    id_prefix = "cmpl-"

    def opening(self) -> bytes:
        """Nothing comes before the text."""
        return b""

    def body(self, text: str, finish_reason: str, usage: Usage, extra: dict[str, Any]) -> bytes:
        """A whole answer."""
        return self._body(self._choice(text, finish_reason), usage, extra)

    def _choice(self, text: str | None, finish_reason: str | None) -> dict[str, Any]:
        return {"index": 0, "text": text or "", "logprobs": None, "finish_reason": finish_reason}


def receipt_json(receipt: Receipt) -> dict[str, Any]:
    """A receipt for people and programs; milliseconds with three decimals."""
    made = {name: getattr(receipt, name) for name in Receipt.__dataclass_fields__}
    made["path"] = receipt.path.name.lower() if receipt.path is not None else None
    made["handoff_gb_per_s"] = receipt.handoff_gb_per_s
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in made.items()}
