"""Answers of the Responses API."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from services.common.errors import MeshError
from services.gateway.call.call import Call
from services.gateway.call.writers import Ending, Opening, Piece, ToolCallDelta, Usage
from services.gateway.rest.openai.format import TIERS, WholeChoice
from services.gateway.rest.responses import output
from services.gateway.rest.responses.asked import Asked
from services.gateway.rest.responses.caller_tool import CallerTool
from services.gateway.rest.responses.open_item import Event, OpenCall, OpenItem, OpenMessage, OpenReasoning

AnyItem = TypeVar("AnyItem", bound=OpenItem)

Keep = Callable[[str, dict[str, Any], Sequence[Any]], None]
"""Stores a response under its id, with the conversation that it ends."""

_to_json = msgspec.json.encode


class ResponsesFormat:
    """Responses (an `AnswerFormat`). A stream's output comes in items, one open at a time."""

    __slots__ = ("_asked", "_call", "_events", "_item", "_items", "_keep", "_opening")

    def __init__(self, call: Call, opening: Opening, keep: Keep | None = None) -> None:
        """`keep` stores a response that its caller may come back to."""
        self._call = call
        self._keep = keep
        self._opening = opening
        asked = call.generation.asked
        self._asked = asked if isinstance(asked, Asked) else Asked()
        self._item: OpenItem | None = None
        self._items: list[dict[str, Any]] = []
        self._events = 0

    def opening(self) -> bytes:
        """The events before any output."""
        response = {"response": self._response("in_progress", [])}
        return self._written([("response.created", response), ("response.in_progress", response)])

    def delta(self, choice: int, piece: Piece) -> bytes:
        """The events of a piece."""
        events: list[Event] = []
        if piece.reasoning:
            reasoning = self._open_reasoning(events)
            events.append(reasoning.add(piece.reasoning))
        if piece.text:
            message = self._open_message(events)
            events.append(message.add(piece.text, output.logprobs_of(piece)))
        for call in piece.tool_calls:
            opened = self._open_call(call, events)
            if call.arguments:
                events += opened.add(call.arguments)
        return self._written(events)

    def around(self, choice: int) -> tuple[bytes, bytes] | None:
        """Nothing: an event says more than its piece."""
        return None

    def end(self, choice: WholeChoice) -> bytes:
        """Nothing: there is only one choice, and `closing` ends it."""
        return b""

    def closing(self, last: WholeChoice, ending: Ending) -> bytes:
        """The events that end a stream."""
        events: list[Event] = []
        status = _status(last)
        if self._item is None and not self._items:
            self._open_message(events)
        events += self._end_item(status)
        response = self._whole(status, self._items, ending)
        return self._written([*events, (f"response.{status}", {"response": response})])

    def failed(self, error: MeshError) -> bytes:
        """The event of an answer that breaks off."""
        response = self._response("failed", self._items)
        response["error"] = {"code": "server_error", "message": error.message, "type": error.reason}
        return self._written([("response.failed", {"response": response})])

    def body(self, choices: Sequence[WholeChoice], ending: Ending) -> bytes:
        """A whole answer."""
        (choice,) = choices
        status = _status(choice)
        items = output.whole(self._call.request_id, choice.piece, status, self._asked)
        return _to_json(self._whole(status, items, ending))

    # The open item.

    def _open_message(self, events: list[Event]) -> OpenMessage:
        if isinstance(self._item, OpenMessage):
            return self._item
        opened = OpenMessage(*self._next("msg", events))
        return self._begin(opened, events)

    def _open_reasoning(self, events: list[Event]) -> OpenReasoning:
        if isinstance(self._item, OpenReasoning):
            return self._item
        opened = OpenReasoning(*self._next("rs", events), is_carried=self._asked.carries_reasoning)
        return self._begin(opened, events)

    def _open_call(self, call: ToolCallDelta, events: list[Event]) -> OpenCall:
        if isinstance(self._item, OpenCall) and self._item.kind == str(call.index):
            return self._item
        tool = self._asked.caller_tools.get(call.name) or CallerTool(call.name)
        opened = OpenCall(*self._next(output.call_prefix(tool), events), call, tool)
        return self._begin(opened, events)

    def _next(self, prefix: str, events: list[Event]) -> tuple[str, int]:
        """Id and place of the next item; ends the one before it."""
        events += self._end_item(output.DONE)
        index = len(self._items)
        return f"{prefix}_{self._call.request_id}_{index}", index

    def _begin(self, item: AnyItem, events: list[Event]) -> AnyItem:
        self._item = item
        events += item.begin()
        return item

    def _end_item(self, status: str) -> list[Event]:
        if self._item is None:
            return []
        events, item = self._item.end(status)
        self._items.append(item)
        self._item = None
        return events

    # The whole.

    def _whole(self, status: str, items: list[dict[str, Any]], ending: Ending) -> dict[str, Any]:
        response = self._response(status, items, ending.usage) | ending.extra
        if self._keep is not None and self._asked.is_stored:
            self._keep(response["id"], response, [*self._asked.conversation, *items])
        return response

    def _response(
        self, status: str, items: list[dict[str, Any]], usage: Usage | None = None
    ) -> dict[str, Any]:
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": f"resp_{self._call.request_id}",
            "object": "response",
            "created_at": self._opening.created_s,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "error": None,
            "incomplete_details": cut,
            "model": self._opening.model,
            "output": items,
            "service_tier": TIERS[self._call.service_class],
            "usage": None if usage is None else _usage(usage),
            **self._asked.repeated,
        }

    def _written(self, events: Iterable[Event]) -> bytes:
        return b"".join([self._event(kind, fields) for kind, fields in events])

    def _event(self, kind: str, fields: dict[str, Any]) -> bytes:
        data = _to_json({"type": kind, "sequence_number": self._events, **fields})
        self._events += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def _status(choice: WholeChoice) -> str:
    return "incomplete" if choice.finish_reason == "length" else "completed"


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
