"""`truncation: "auto"`: the oldest messages go until the prompt fits."""

from collections.abc import Sequence
from typing import Any

from services.common.domain.record import record
from services.gateway.call.edits import Measure, Messages

_LASTING = ("system", "developer")


@record
class Truncate:
    """Keeps the instructions before the conversation, and of it the newest messages that fit (an `Edit`)."""

    def apply(self, messages: Messages, measure: Measure) -> tuple[Messages, dict[str, Any] | None]:
        """The messages that fit; all of them, and so the usual refusal, where not even the last does."""
        if measure.tokens(messages) <= measure.room_tokens:
            return messages, None
        lasting = next(
            (i for i, message in enumerate(messages) if message["role"] not in _LASTING), len(messages)
        )
        starts = _starts(messages, lasting)
        low, high = 0, len(starts)  # the first that fits is at low or after it, and at high at most
        while low < high:
            middle = (low + high) // 2
            fits = measure.tokens(_from(messages, lasting, starts[middle])) <= measure.room_tokens
            low, high = (low, middle) if fits else (middle + 1, high)
        return (messages if low == len(starts) else _from(messages, lasting, starts[low])), None


def _starts(messages: Messages, lasting: int) -> Sequence[int]:
    """Where the conversation may begin: not with a tool's result, whose call would be missing."""
    return [i for i in range(lasting + 1, len(messages)) if messages[i]["role"] != "tool"]


def _from(messages: Messages, lasting: int, start: int) -> Messages:
    return [*messages[:lasting], *messages[start:]]
