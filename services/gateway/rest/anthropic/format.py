"""Answers as Anthropic writes them."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from services.common.errors import MeshError
from services.gateway.call.call import Call
from services.gateway.call.writers import Ending, Opening, Piece, ToolCallDelta, Usage
from services.gateway.rest.anthropic.asked import Asked
from services.gateway.rest.anthropic.errors import error_body
from services.gateway.rest.openai.format import WholeChoice
from services.gateway.rest.openai.messages import arguments_of, is_object
from services.gateway.rest.openai.packed_thought import pack

_to_json = msgspec.json.encode
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class MessagesFormat:
    """Messages (an `AnswerFormat`). A stream's content comes in blocks, one open at a time."""

    __slots__ = (
        "_before_text",
        "_block",
        "_calls",
        "_message",
        "_omits_thinking",
        "_open",
        "_prompt_tokens",
        "_unshown",
    )

    def __init__(self, call: Call, opening: Opening) -> None:
        self._message: dict[str, Any] = {
            "id": f"msg_{call.request_id}",
            "type": "message",
            "role": "assistant",
            "model": opening.model,
        }
        self._prompt_tokens = len(opening.prompts[0])
        asked = call.generation.asked
        self._omits_thinking = isinstance(asked, Asked) and asked.omits_thinking
        self._unshown: list[str] = []
        """Thoughts of the open block, which its signature is to carry."""
        self._open = ""
        """What the open block is: "text", "thinking" or a tool call's number; empty for none."""
        self._block = -1
        self._before_text = b""
        self._calls: dict[int, list[str]] = {}
        """The parts of the arguments of each tool call so far."""

    def opening(self) -> bytes:
        """The event before any content. What was cached of the prompt is known at the end only."""
        message = self._whole([], None, None, Usage(self._prompt_tokens, 0))
        return _event("message_start", {"message": message})

    def delta(self, choice: int, piece: Piece) -> bytes:
        """The events of a piece."""
        if self._open == "text" and not (piece.reasoning or piece.tool_calls):
            return b"%b%b}}\n\n" % (self._before_text, _to_json(piece.text))
        events = []
        if piece.reasoning:
            block = {"type": "thinking", "thinking": "", "signature": ""}
            events.append(self._enter("thinking", block))
            events.append(self._thought(piece.reasoning))
        if piece.text:
            events.append(self._enter("text", {"type": "text", "text": ""}))
            events.append(self._delta({"type": "text_delta", "text": piece.text}))
        events += [self._tool_delta(call) for call in piece.tool_calls]
        return b"".join(events)

    def around(self, choice: int) -> tuple[bytes, bytes] | None:
        """Nothing: an event says more than its piece."""
        return None

    def end(self, choice: WholeChoice) -> bytes:
        """Nothing: there is only one choice, and `closing` ends it."""
        return b""

    def closing(self, last: WholeChoice, ending: Ending) -> bytes:
        """The events that end a stream."""
        reason, sequence = _stop(last, ["".join(parts) for parts in self._calls.values()])
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        usage = _usage(ending.usage)
        said = _event("message_delta", {"delta": delta, "usage": usage, **ending.extra})
        return self._leave() + said + _event("message_stop", {})

    def failed(self, error: MeshError) -> bytes:
        """The event of an answer that breaks off."""
        return b"event: error\ndata: %b\n\n" % _to_json(error_body(error))

    def body(self, choices: Sequence[WholeChoice], ending: Ending) -> bytes:
        """A whole answer."""
        (choice,) = choices
        reason, sequence = _stop(choice, [call.arguments for call in choice.piece.tool_calls])
        content = _content(choice.piece, omits_thinking=self._omits_thinking)
        return _to_json(self._whole(content, reason, sequence, ending.usage) | ending.extra)

    def _whole(
        self, content: list[dict[str, Any]], reason: str | None, sequence: str | None, usage: Usage
    ) -> dict[str, Any]:
        ended = {"stop_reason": reason, "stop_sequence": sequence}
        return {**self._message, "content": content, **ended, "usage": _usage(usage)}

    def _thought(self, text: str) -> bytes:
        if self._omits_thinking:
            self._unshown.append(text)
            return b""
        return self._delta({"type": "thinking_delta", "thinking": text})

    def _tool_delta(self, call: ToolCallDelta) -> bytes:
        block = {"type": "tool_use", "id": call.call_id, "name": call.name, "input": {}}
        begun = self._enter(str(call.index), block)
        self._calls.setdefault(call.index, []).append(call.arguments)
        if not call.arguments:
            return begun
        return begun + self._delta({"type": "input_json_delta", "partial_json": call.arguments})

    def _enter(self, kind: str, block: dict[str, Any]) -> bytes:
        """Begin a block, unless one of its kind is open."""
        if self._open == kind:
            return b""
        left = self._leave()
        self._open = kind
        self._block += 1
        start = {"type": "content_block_delta", "index": self._block}
        head = _to_json(start)[:-1] + b',"delta":{"type":"text_delta","text":'
        self._before_text = b"event: content_block_delta\ndata: " + head
        return left + _event("content_block_start", {"index": self._block, "content_block": block})

    def _leave(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        signed = b""
        if self._unshown:
            signed = self._delta({"type": "signature_delta", "signature": pack("".join(self._unshown))})
            self._unshown = []
        return signed + _event("content_block_stop", {"index": self._block})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", {"index": self._block, "delta": delta})


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _to_json({"type": kind, **fields}))


def _stop(choice: WholeChoice, calls: Collection[str]) -> tuple[str, str | None]:
    """Reason and stop sequence.

    Complete tool calls (`calls` are their arguments) are to be carried out, even where the tool was demanded
    by its name or the answer was cut after them.
    """
    if calls and all(map(is_object, calls)):
        return "tool_use", None
    if choice.finish_reason == "stop" and isinstance(choice.stop_reason, str):
        return "stop_sequence", choice.stop_reason
    return _STOP_REASONS.get(choice.finish_reason, "end_turn"), None


def _usage(usage: Usage) -> dict[str, int]:
    """Anthropic counts tokens that were cached apart from the others."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }


def _content(piece: Piece, *, omits_thinking: bool) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if piece.reasoning:
        shown, carried = ("", pack(piece.reasoning)) if omits_thinking else (piece.reasoning, "")
        made.append({"type": "thinking", "thinking": shown, "signature": carried})
    if piece.text:
        made.append({"type": "text", "text": piece.text})
    for call in piece.tool_calls:
        given = arguments_of(call.arguments)
        made.append({"type": "tool_use", "id": call.call_id, "name": call.name, "input": given})
    return made
