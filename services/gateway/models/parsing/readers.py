"""Reading one choice through a vLLM parser: piece by piece, or whole at its end as vLLM itself does."""

import uuid
from array import array
from collections.abc import Iterable
from typing import Any

from services.gateway.call.generation import ToolUse
from services.gateway.call.writers import Piece, ToolCallDelta
from services.gateway.call.writers.piece import join


class StreamReader:
    """For streams (an `AnswerReader`)."""

    def __init__(self, parser: Any, request: Any, prompt: list[int], tools: ToolUse | None) -> None:
        self.calls_tools = False
        self._parser = parser
        self._request = request
        self._prompt = prompt
        self._calls_max = None if tools is None or tools.in_parallel else 1
        self._has_reasoning = parser.reasoning_parser is not None
        self._ids: list[int] = []
        self._texts: list[str] = []
        self._shown_chars = 0

    @property
    def reasoning_tokens(self) -> int:
        """Tokens spent on reasoning so far."""
        return int(self._parser.count_reasoning_tokens(self._ids)) if self._ids else 0

    def push(self, text: str, ids: "array[int]") -> Piece | None:
        """What these tokens, which say this text, add."""
        piece = self._parse(text, ids.tolist(), finished=False)
        self._texts.append(text)
        self._shown_chars += len(piece.text) if piece is not None else 0
        return piece

    def finish(self, text: str) -> Piece | None:
        """What was still held back.

        vLLM's older parsers forget what looked like the beginning of a call and was none; whole answers show
        it, and so does this.
        """
        piece = self._parse(text, [], finished=True)
        if self.calls_tools or self._has_reasoning or self._parser._engine_based:
            return piece
        shown_chars = self._shown_chars + (len(piece.text) if piece is not None else 0)
        rest = "".join([*self._texts, text])[shown_chars:]
        return join([piece or Piece(), Piece(rest)]) if rest else piece

    def _parse(self, text: str, ids: list[int], *, finished: bool) -> Piece | None:
        if self._has_reasoning:
            self._ids.extend(ids)
        delta = self._parser.parse_delta(text, ids, self._request, self._prompt, finished=finished)
        if delta is None:
            return None
        calls = tuple(self._calls(delta.tool_calls or ()))
        if not (delta.content or delta.reasoning or calls):
            return None
        self.calls_tools = self.calls_tools or bool(calls)
        return Piece(text=delta.content or "", reasoning=delta.reasoning or "", tool_calls=calls)

    def _calls(self, deltas: Iterable[Any]) -> Iterable[ToolCallDelta]:
        for delta in deltas:
            if self._calls_max is None or delta.index < self._calls_max:
                function = delta.function
                yield ToolCallDelta(
                    delta.index,
                    call_id=delta.id or "",
                    name=(function.name if function else None) or "",
                    arguments=(function.arguments if function else None) or "",
                )


class WholeReader:
    """For answers in one piece (an `AnswerReader`): what it reads comes at the end."""

    def __init__(self, parser: Any, request: Any, prompt: list[int], tools: ToolUse | None) -> None:
        self.calls_tools = False
        self._parser = parser
        self._request = request
        self._calls_max = None if tools is None or tools.in_parallel else 1
        self._texts: list[str] = []
        self._ids: list[int] = []
        parser.set_prompt_token_ids(prompt)

    @property
    def reasoning_tokens(self) -> int:
        """Tokens spent on reasoning so far."""
        return int(self._parser.count_reasoning_tokens(self._ids))

    def push(self, text: str, ids: "array[int]") -> None:
        """Keep it."""
        self._texts.append(text)
        self._ids.extend(ids)

    def finish(self, text: str) -> Piece | None:
        """The whole answer."""
        whole = "".join([*self._texts, text])
        reasoning, content, calls = self._parser.parse(
            whole, self._request, enable_auto_tools=True, model_output_token_ids=self._ids
        )
        made = tuple(
            ToolCallDelta(index, call.id or f"chatcmpl-tool-{uuid.uuid4().hex}", call.name, call.arguments)
            for index, call in enumerate((calls or ())[: self._calls_max])
        )
        self.calls_tools = bool(made)
        shown = reasoning if self._request.include_reasoning else None
        return Piece(text=content or "", reasoning=shown or "", tool_calls=made)
