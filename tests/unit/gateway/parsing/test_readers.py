"""Readers over a parser that fails: the answer goes on as plain text."""

from types import SimpleNamespace
from typing import Any

import pytest

from services.common.domain.tokens import tokens
from services.gateway.call.writers import Piece
from services.gateway.call.writers.piece import join
from services.gateway.models.parsing.readers import StreamReader, WholeReader

REQUEST = SimpleNamespace(include_reasoning=True)


class FailingParser:
    """Says what it is told as content, calls a tool at "@", keeps "?" back, and fails at "!"."""

    _engine_based = False

    def __init__(self, *, reasons: bool = False) -> None:
        self.reasoning_parser = object() if reasons else None

    def set_prompt_token_ids(self, ids: list[int]) -> None:
        """Nothing that it needs."""

    def count_reasoning_tokens(self, ids: list[int]) -> int:
        raise AttributeError("no marks")

    def parse_delta(self, text: str, *_: Any, finished: bool) -> Any:
        if "!" in text:
            raise IndexError("beyond the end")
        function = SimpleNamespace(name="f", arguments="{}")
        calls = [SimpleNamespace(index=0, id="1", function=function)] if text == "@" else []
        shown = "" if text in "@?" else text
        return SimpleNamespace(content=shown, reasoning=None, tool_calls=calls)

    def parse(self, text: str, *_: Any, **__: Any) -> Any:
        raise RecursionError


def read(parser: FailingParser, texts: list[str]) -> Piece:
    reader = StreamReader(parser, REQUEST, [1], None)
    pieces = [reader.push(text, tokens([1])) for text in texts]
    pieces.append(reader.finish(""))
    assert reader.reasoning_tokens == 0
    return join([piece for piece in pieces if piece is not None])


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        (["a", "!", "b"], "a!b"),
        (["a", "?", "!", "b"], "a?!b"),
        (["!", "!"], "!!"),
        (["a", "b", "c!"], "abc!"),
    ],
)
def test_a_stream_loses_nothing_to_a_parser_that_fails(texts: list[str], shown: str) -> None:
    assert read(FailingParser(), texts) == Piece(shown)


def test_a_call_is_not_told_again_as_text() -> None:
    piece = read(FailingParser(), ["a", "@", "!", "b"])
    assert (piece.text, [call.name for call in piece.tool_calls]) == ("a!b", ["f"])


def test_thoughts_are_not_told_again_as_text() -> None:
    assert read(FailingParser(reasons=True), ["a", "?", "!", "b"]).text == "a!b"


def test_a_whole_answer_is_its_text_where_the_parser_fails() -> None:
    reader = WholeReader(FailingParser(), REQUEST, [1], None)
    reader.push("all of ", tokens([1]))
    assert reader.finish("it") == Piece("all of it")
    assert (reader.calls_tools, reader.reasoning_tokens) == (False, 0)
