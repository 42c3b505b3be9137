"""The edit `clear_thinking_20251015`: what the model thought in old turns is left out."""

from typing import Any

from services.common.domain.record import record
from services.gateway.call.edits import Measure, Messages

REASONING = ("reasoning", "reasoning_content")
"""The names of a message's thoughts; templates know one or the other."""


@record
class ClearThinking:
    """Keeps the thoughts of the newest turns that have any (an `Edit`).

    A turn is all that the assistant says up to the user's next message; results of tools do not end it.
    """

    name: str
    turns_kept: int

    def apply(self, messages: Messages, measure: Measure) -> tuple[Messages, dict[str, Any] | None]:
        """The messages without old thoughts."""
        turns = _thinking_turns(messages)
        cleared = set(turns[: max(0, len(turns) - self.turns_kept)])
        if not cleared:
            return messages, None
        edited, turn = [], 0
        for message in messages:
            turn += message["role"] == "user"
            is_cleared = turn in cleared and message["role"] == "assistant"
            edited.append(
                {name: value for name, value in message.items() if name not in REASONING}
                if is_cleared
                else message
            )
        told = {
            "type": self.name,
            "cleared_thinking_turns": len(cleared),
            "cleared_input_tokens": max(0, measure.tokens(messages) - measure.tokens(edited)),
        }
        return edited, told


def _thinking_turns(messages: Messages) -> list[int]:
    """Numbers of the turns with thoughts, the oldest first."""
    found: dict[int, None] = {}
    turn = 0
    for message in messages:
        turn += message["role"] == "user"
        if message["role"] == "assistant" and message.get("reasoning"):
            found[turn] = None
    return list(found)
