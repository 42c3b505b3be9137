"""The one item of a streamed answer that is being written, and its events."""

from typing import Any

from services.gateway.call.writers import ToolCallDelta
from services.gateway.rest.openai.packed_thought import pack
from services.gateway.rest.responses import output
from services.gateway.rest.responses.caller_tool import CallerTool

Event = tuple[str, dict[str, Any]]
"""Its type and its fields."""


class OpenItem:
    """Collects what it says, for its closing events say it again."""

    kind = ""

    def __init__(self, item_id: str, index: int) -> None:
        self._item_id = item_id
        self._index = index
        self._texts: list[str] = []
        self._logprobs: list[dict[str, Any]] = []

    def begin(self) -> list[Event]:
        """The events before its first text."""
        item = self._item(output.RUNNING, [])
        added = {"output_index": self._index, "item": item}
        return [
            ("response.output_item.added", added),
            ("response.content_part.added", self._at_part() | {"part": self._part("", [])}),
        ]

    def end(self, status: str) -> tuple[list[Event], dict[str, Any]]:
        """The events after its last text, and the whole item."""
        text = "".join(self._texts)
        part = self._part(text, self._logprobs)
        item = self._item(status, [part])
        return [
            self._done(text),
            ("response.content_part.done", self._at_part() | {"part": part}),
            ("response.output_item.done", {"output_index": self._index, "item": item}),
        ], item

    def _at_part(self) -> dict[str, Any]:
        return {"item_id": self._item_id, "output_index": self._index, "content_index": 0}

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        raise NotImplementedError

    def _part(self, text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
        raise NotImplementedError

    def _done(self, text: str) -> Event:
        raise NotImplementedError


class OpenMessage(OpenItem):
    """What the model says."""

    kind = "message"

    def add(self, text: str, logprobs: list[dict[str, Any]]) -> Event:
        """The event of some more text."""
        self._texts.append(text)
        self._logprobs += logprobs
        return "response.output_text.delta", self._at_part() | {"delta": text, "logprobs": logprobs}

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return output.message(self._item_id, status, content)

    def _part(self, text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
        return output.text_part(text, logprobs)

    def _done(self, text: str) -> Event:
        said = {"text": text, "logprobs": self._logprobs}
        return "response.output_text.done", self._at_part() | said


class OpenReasoning(OpenItem):
    """What it thinks before."""

    kind = "reasoning"

    def __init__(self, item_id: str, index: int, *, is_carried: bool) -> None:
        super().__init__(item_id, index)
        self._is_carried = is_carried

    def add(self, text: str) -> Event:
        """The event of some more text."""
        self._texts.append(text)
        return "response.reasoning_text.delta", self._at_part() | {"delta": text}

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        carried = pack("".join(self._texts)) if self._is_carried and content else None
        return output.reasoning(self._item_id, status, content, carried=carried)

    def _part(self, text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
        return output.reasoning_part(text)

    def _done(self, text: str) -> Event:
        return "response.reasoning_text.done", self._at_part() | {"text": text}


class OpenCall(OpenItem):
    """A tool that it calls."""

    def __init__(self, item_id: str, index: int, call: ToolCallDelta, tool: CallerTool) -> None:
        super().__init__(item_id, index)
        self.kind = str(call.index)
        self._call = call
        self._tool = tool

    def begin(self) -> list[Event]:
        """The event before its arguments."""
        item = output.tool_call(self._item_id, output.RUNNING, self._with(""), self._tool)
        return [("response.output_item.added", {"output_index": self._index, "item": item})]

    def add(self, arguments: str) -> list[Event]:
        """The events of some more of the arguments; a custom tool's input is known when they are whole."""
        self._texts.append(arguments)
        if self._tool.is_custom:
            return []
        return [("response.function_call_arguments.delta", self._at() | {"delta": arguments})]

    def end(self, status: str) -> tuple[list[Event], dict[str, Any]]:
        """The events after its arguments, and the whole item."""
        arguments = "".join(self._texts)
        item = output.tool_call(self._item_id, status, self._with(arguments), self._tool)
        return [*self._done_events(item), self._item_done(item)], item

    def _item_done(self, item: dict[str, Any]) -> Event:
        return "response.output_item.done", {"output_index": self._index, "item": item}

    def _done_events(self, item: dict[str, Any]) -> list[Event]:
        if self._tool.is_custom:
            return [
                ("response.custom_tool_call_input.delta", self._at() | {"delta": item["input"]}),
                ("response.custom_tool_call_input.done", self._at() | {"input": item["input"]}),
            ]
        done = self._at() | {"name": self._tool.name, "arguments": item["arguments"]}
        return [("response.function_call_arguments.done", done)]

    def _at(self) -> dict[str, Any]:
        return {"item_id": self._item_id, "output_index": self._index}

    def _with(self, arguments: str) -> ToolCallDelta:
        call = self._call
        return ToolCallDelta(call.index, call_id=call.call_id, name=call.name, arguments=arguments)
