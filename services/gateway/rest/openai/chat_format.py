"""Answers of chats."""

from collections.abc import Sequence
from typing import Any

from services.gateway.call.writers import Ending, Piece, TokenLikelihood, ToolCallDelta
from services.gateway.rest.openai.format import OpenAiFormat, WholeChoice


class ChatFormat(OpenAiFormat):
    """Chat completions."""

    __slots__ = ()
    stream_object = "chat.completion.chunk"
    body_object = "chat.completion"
    id_prefix = "chatcmpl-"

    def opening(self) -> bytes:
        """The events that say whose turn it is, one for each choice."""
        return b"".join(
            [
                self._event(
                    [self._choice(number, None, None) | {"delta": {"role": "assistant", "content": ""}}],
                    self._tail_of(number, begins=True) | self._prompt_ids(),
                )
                for number in range(self._generation.n)
            ]
        )

    def body(self, choices: Sequence[WholeChoice], ending: Ending) -> bytes:
        """A whole answer."""
        self._fields |= self._prompt_ids()
        return self._body([self._whole(choice) for choice in choices], ending)

    def _prompt_ids(self) -> dict[str, Any]:
        if not self._generation.returns_token_ids:
            return {}
        return {"prompt_token_ids": self._opening.prompts[0].tolist()}

    def _whole(self, choice: WholeChoice) -> dict[str, Any]:
        piece = choice.piece
        message: dict[str, Any] = {"role": "assistant", "content": piece.text, "refusal": None}
        if piece.reasoning:
            message |= _reasoning(piece.reasoning)
        if piece.tool_calls:
            message["content"] = piece.text or None
            message["tool_calls"] = [_call(call) for call in piece.tool_calls]
        made = {
            "index": choice.number,
            "message": message,
            "logprobs": self._logprobs(piece),
            "finish_reason": choice.finish_reason,
        }
        if choice.stop_reason is not None:
            made["stop_reason"] = choice.stop_reason
        if piece.token_ids is not None:
            made["token_ids"] = piece.token_ids.tolist()
        return made

    def _choice(self, number: int, text: str | None, finish_reason: str | None) -> dict[str, Any]:
        delta = {} if text is None else {"content": text}
        return {"index": number, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

    def _detailed(self, number: int, piece: Piece) -> dict[str, Any]:
        delta: dict[str, Any] = {}
        if piece.reasoning:
            delta |= _reasoning(piece.reasoning)
        if piece.text or not (piece.reasoning or piece.tool_calls):
            delta["content"] = piece.text
        if piece.tool_calls:
            delta["tool_calls"] = [_call_delta(call) for call in piece.tool_calls]
        logprobs = self._logprobs(piece) if piece.logprobs else None
        made = {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": None}
        return made if piece.token_ids is None else made | {"token_ids": piece.token_ids.tolist()}

    def _logprobs(self, piece: Piece) -> dict[str, Any] | None:
        if self._generation.sampling.logprobs is None:
            return None
        content = [
            _likelihood(token) | {"top_logprobs": [_likelihood(other) for other in token.top]}
            for token in piece.logprobs
        ]
        return {"content": content, "refusal": None}


def _reasoning(text: str) -> dict[str, Any]:
    """Under both names that clients know."""
    return {"reasoning": text, "reasoning_content": text}


def _likelihood(token: TokenLikelihood) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.piece)}


def _call(call: ToolCallDelta) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.call_id, "type": "function", "function": function}


def _call_delta(call: ToolCallDelta) -> dict[str, Any]:
    """Id and name come with the first delta of a call alone."""
    function = {"arguments": call.arguments}
    if not call.name:
        return {"index": call.index, "function": function}
    return {
        "index": call.index,
        "id": call.call_id,
        "type": "function",
        "function": {"name": call.name, **function},
    }
