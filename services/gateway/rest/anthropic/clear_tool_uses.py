"""The edit `clear_tool_uses_20250919`: old results of tools give way to a sentence."""

from collections.abc import Collection, Mapping
from typing import Any

from services.common.domain.record import record
from services.gateway.call.edits import Measure, Messages

STANDS_IN = "[This result was cleared to save room.]"


@record
class ClearToolUses:
    """Clears the oldest results, once the conversation is long (an `Edit`)."""

    name: str
    trigger: str
    """What is counted: "input_tokens" or "tool_uses"."""
    trigger_above: int
    uses_kept: int
    """The newest results, which stay."""
    clear_tokens_min: int
    """Where less would be gained, nothing is cleared."""
    excluded: Collection[str]
    """Tools whose results stay."""
    clears_input_of: Collection[str] | None
    """Tools of which the arguments go too; None for all."""

    def apply(self, messages: Messages, measure: Measure) -> tuple[Messages, dict[str, Any] | None]:
        """The messages without old results."""
        names = _tool_names(messages)
        uses = [str(message.get("tool_call_id")) for message in messages if message["role"] == "tool"]
        count = len(uses) if self.trigger == "tool_uses" else measure.tokens(messages)
        if count <= self.trigger_above:
            return messages, None
        clearable = [use for use in uses if names.get(use) not in self.excluded]
        cleared = set(clearable[: max(0, len(clearable) - self.uses_kept)])
        if not cleared:
            return messages, None
        edited = [self._without(message, cleared) for message in messages]
        cleared_tokens = measure.tokens(messages) - measure.tokens(edited)
        if cleared_tokens < max(1, self.clear_tokens_min):
            return messages, None
        told = {
            "type": self.name,
            "cleared_tool_uses": len(cleared),
            "cleared_input_tokens": cleared_tokens,
        }
        return edited, told

    def _without(self, message: Mapping[str, Any], cleared: set[str]) -> Mapping[str, Any]:
        if message["role"] == "tool" and message.get("tool_call_id") in cleared:
            return {**message, "content": STANDS_IN}
        if not message.get("tool_calls"):
            return message
        return {**message, "tool_calls": [self._call(call, cleared) for call in message["tool_calls"]]}

    def _call(self, call: Mapping[str, Any], cleared: set[str]) -> Mapping[str, Any]:
        name = call["function"]["name"]
        is_kept = self.clears_input_of is not None and name not in self.clears_input_of
        if is_kept or call.get("id") not in cleared:
            return call
        return {**call, "function": {**call["function"], "arguments": {}}}


def _tool_names(messages: Messages) -> dict[str, str]:
    """The name of the tool, by the id of its call."""
    return {
        str(call.get("id")): call["function"]["name"]
        for message in messages
        for call in message.get("tool_calls") or ()
    }
