"""Changes to a conversation that are made once the model is known, because they count its tokens."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from services.common.domain.record import record

Messages = Sequence[Mapping[str, Any]]
"""As templates take them."""


class Measure:
    """Renders a conversation to count its tokens; keeps the last one, for it is mostly asked for again."""

    def __init__(self, render: "Callable[[Messages], array[int]]", room_tokens: int) -> None:
        self.room_tokens = room_tokens
        """Tokens that a prompt may have, so that the answer fits behind it."""
        self._render = render
        self._last: tuple[Messages, array[int]] | None = None

    def ids(self, messages: Messages) -> "array[int]":
        """The prompt's token ids; raises `InvalidField` on messages that the template refuses."""
        if self._last is None or self._last[0] is not messages:
            self._last = messages, self._render(messages)
        return self._last[1]

    def tokens(self, messages: Messages) -> int:
        """How many tokens the prompt has."""
        return len(self.ids(messages))


class Edit(Protocol):
    """One change."""

    def apply(self, messages: Messages, measure: Measure) -> tuple[Messages, dict[str, Any] | None]:
        """The messages as they are to be, and what was changed as the caller is told; None for no change."""


@record
class Rendered:
    """A prompt after its edits."""

    ids: "array[int]"
    applied: Sequence[dict[str, Any]] = ()
    """What was changed, in the words of the edits."""
    original_tokens: int = 0
    """Tokens of the prompt without any edit."""


def render_edited(messages: Messages, edits: Sequence[Edit], measure: Measure) -> Rendered:
    """Make the changes in their order."""
    original_tokens = measure.tokens(messages) if edits else 0
    applied = []
    for edit in edits:
        messages, note = edit.apply(messages, measure)
        if note is not None:
            applied.append(note)
    ids = measure.ids(messages)
    return Rendered(ids, applied, original_tokens or len(ids))
