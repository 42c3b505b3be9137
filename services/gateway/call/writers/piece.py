"""What an answer is made of, a little at a time."""

from array import array
from collections.abc import Sequence

import msgspec


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """A part of a tool call. The first of each `index` has id and name; arguments are JSON text to join."""

    index: int
    call_id: str = ""
    name: str = ""
    arguments: str = ""


class TokenLikelihood(msgspec.Struct, frozen=True, gc=False):
    """One generated token, and how likely it and the most likely ones beside it were."""

    token_id: int
    text: str
    piece: bytes
    """The token's own bytes; several tokens may make one character."""
    logprob: float
    top: "tuple[TokenLikelihood, ...]" = ()


class Piece(msgspec.Struct, frozen=True, gc=False):
    """What one frame of tokens adds to a choice. Made once per token: kept cheap.

    `token_ids` and `logprobs` are there only where the call asks for them, for the tokens of this frame;
    text may come later than its tokens, where a character or a stop string is not complete yet.
    """

    text: str = ""
    token_ids: "array[int] | None" = None
    logprobs: tuple[TokenLikelihood, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()

    def size_bytes(self) -> int:
        """About what it takes while it waits for a slow client."""
        size = len(self.text.encode("utf-8", "replace")) + len(self.reasoning.encode("utf-8", "replace"))
        size += 4 * len(self.token_ids or ())
        size += sum(64 * (1 + len(token.top)) for token in self.logprobs)
        return size + sum(len(call.arguments) + 64 for call in self.tool_calls)


def join(pieces: Sequence[Piece]) -> Piece:
    """One piece that says the same as several of one choice."""
    if len(pieces) == 1:
        return pieces[0]
    ids: array[int] | None = None
    for piece in pieces:
        if piece.token_ids is not None:
            ids = piece.token_ids[:] if ids is None else ids + piece.token_ids
    return Piece(
        text="".join([piece.text for piece in pieces]),
        token_ids=ids,
        logprobs=tuple(token for piece in pieces for token in piece.logprobs),
        reasoning="".join([piece.reasoning for piece in pieces]),
        tool_calls=_joined_calls([call for piece in pieces for call in piece.tool_calls]),
    )


def _joined_calls(deltas: Sequence[ToolCallDelta]) -> tuple[ToolCallDelta, ...]:
    """One delta per call, in the order in which they began."""
    parts: dict[int, list[ToolCallDelta]] = {}
    for delta in deltas:
        parts.setdefault(delta.index, []).append(delta)
    return tuple(
        ToolCallDelta(
            index,
            call_id=next((d.call_id for d in same if d.call_id), ""),
            name=next((d.name for d in same if d.name), ""),
            arguments="".join([d.arguments for d in same]),
        )
        for index, same in parts.items()
    )
