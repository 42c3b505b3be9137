"""Reading one choice through a vLLM parser: piece by piece, or whole at its end as vLLM itself does.

A parser that fails on what a model wrote does not cost the caller the answer: what follows is plain text.
"""

import logging
import uuid
from array import array
from collections.abc import Iterable
from typing import Any

from services.gateway.call.generation import ToolUse
from services.gateway.call.writers import Piece, ToolCallDelta
from services.gateway.call.writers.piece import join

_log = logging.getLogger(__name__)


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
        self._has_failed = False

    @property
    def reasoning_tokens(self) -> int:
        """Tokens spent on reasoning so far."""
        return _reasoning_tokens(self._parser, self._ids)

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
        if self._has_failed or self._has_parts or self._parser._engine_based:
            return piece
        shown_chars = self._shown_chars + (len(piece.text) if piece is not None else 0)
        rest = self._unshown(text, shown_chars)
        return join([piece or Piece(), Piece(rest)]) if rest else piece

    @property
    def _has_parts(self) -> bool:
        """Whether the text so far may have become something else than text."""
        return self.calls_tools or self._has_reasoning

    def _unshown(self, text: str, shown_chars: int) -> str:
        return "".join([*self._texts, text])[shown_chars:]

    def _parse(self, text: str, ids: list[int], *, finished: bool) -> Piece | None:
        if self._has_reasoning:
            self._ids.extend(ids)
        if self._has_failed:
            return Piece(text) if text else None
        try:
            delta = self._parser.parse_delta(text, ids, self._request, self._prompt, finished=finished)
        except Exception:  # of a parser that is vLLM's, about what its model wrote
            _log.exception("the parser failed; the rest of this answer is plain text")
            self._has_failed = True
            rest = text if self._has_parts else self._unshown(text, self._shown_chars)
            return Piece(rest) if rest else None
        return None if delta is None else self._piece(delta)

    def _piece(self, delta: Any) -> Piece | None:
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
        return _reasoning_tokens(self._parser, self._ids)

    def push(self, text: str, ids: "array[int]") -> None:
        """Keep it."""
        self._texts.append(text)
        self._ids.extend(ids)

    def finish(self, text: str) -> Piece | None:
        """The whole answer."""
        whole = "".join([*self._texts, text])
        try:
            reasoning, content, calls = self._parser.parse(
                whole, self._request, enable_auto_tools=True, model_output_token_ids=self._ids
            )
        except Exception:  # as above
            _log.exception("the parser failed; this answer is plain text")
            reasoning, content, calls = None, whole, None
        made = tuple(
            ToolCallDelta(index, call.id or f"chatcmpl-tool-{uuid.uuid4().hex}", call.name, call.arguments)
            for index, call in enumerate((calls or ())[: self._calls_max])
        )
        self.calls_tools = bool(made)
        shown = reasoning if self._request.include_reasoning else None
        return Piece(text=content or "", reasoning=shown or "", tool_calls=made)


def _reasoning_tokens(parser: Any, ids: list[int]) -> int:
    """Tokens spent on reasoning; 0 where the parser fails on what the model wrote."""
    try:
        return int(parser.count_reasoning_tokens(ids)) if ids else 0
    except Exception:  # as above
        return 0
