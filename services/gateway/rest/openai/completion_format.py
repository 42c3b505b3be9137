"""Answers of plain completions."""

from collections.abc import Sequence
from typing import Any

from services.gateway.call.call import Call
from services.gateway.call.writers import Ending, Opening, Piece, TokenLikelihood
from services.gateway.rest.openai.format import OpenAiFormat, WholeChoice


class CompletionFormat(OpenAiFormat):
    """Plain completions."""

    __slots__ = ("_offsets",)
    stream_object = "text_completion"
    body_object = "text_completion"
    id_prefix = "cmpl-"

    def __init__(self, call: Call, opening: Opening) -> None:
        super().__init__(call, opening)
        self._offsets: dict[int, int] = {}
        """Characters of each choice's text so far, for the offsets of its tokens."""

    def opening(self) -> bytes:
        """Nothing comes before the text."""
        return b""

    def body(self, choices: Sequence[WholeChoice], ending: Ending) -> bytes:
        """A whole answer."""
        return self._body([self._whole(choice) for choice in choices], ending)

    def _whole(self, choice: WholeChoice) -> dict[str, Any]:
        made = self._detailed(choice.number, choice.piece) | {"finish_reason": choice.finish_reason}
        return made if choice.stop_reason is None else made | {"stop_reason": choice.stop_reason}

    def _choice(self, number: int, text: str | None, finish_reason: str | None) -> dict[str, Any]:
        return {"index": number, "text": text or "", "logprobs": None, "finish_reason": finish_reason}

    def _detailed(self, number: int, piece: Piece) -> dict[str, Any]:
        made = self._choice(number, piece.text, None)
        is_first = number not in self._offsets
        if self._generation.sampling.logprobs is not None:
            made["logprobs"] = self._logprobs(number, piece.logprobs)
        if piece.token_ids is not None:
            made["token_ids"] = piece.token_ids.tolist()
            if is_first:
                made["prompt_token_ids"] = self._opening.prompts[number // self._generation.n].tolist()
        self._offsets.setdefault(number, 0)
        return made

    def _logprobs(self, number: int, tokens: Sequence[TokenLikelihood]) -> dict[str, Any]:
        """OpenAI's older form: parallel lists, and the likely tokens as an object by their text."""
        offset = self._offsets.get(number, 0)
        offsets = []
        for token in tokens:
            offsets.append(offset)
            offset += len(token.text)
        self._offsets[number] = offset
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [_top(token) for token in tokens] if self._has_top else None,
            "text_offset": offsets,
        }

    @property
    def _has_top(self) -> bool:
        return bool(self._generation.sampling.logprobs)


def _top(token: TokenLikelihood) -> dict[str, float]:
    """The likely tokens; the chosen one is always among them."""
    return {other.text: other.logprob for other in (*token.top, token)}
