"""Training rows mark exactly the answers, and copying exercises are solvable."""

from __future__ import annotations

from random import Random

import pytest
from tokenizers import Tokenizer

from tools.demo_model import chat, corpus, rows, tokenizer, words
from tools.demo_model.exchange import Exchange
from tools.demo_model.recipe import Stage

STAGE = Stage(steps=1, row_tokens=(200,), copy_share=0.2)


@pytest.fixture(scope="module")
def built() -> Tokenizer:
    return tokenizer.build(corpus.tokenizer_texts(1, 100))


def test_rows_depend_on_seed_and_index_only(built: Tokenizer) -> None:
    first = rows.RowMaker(built, 1).row("0 0", 200, STAGE)
    assert first == rows.RowMaker(built, 1).row("0 0", 200, STAGE)
    assert first != rows.RowMaker(built, 2).row("0 0", 200, STAGE)
    assert len(first.ids) == len(first.learned) == 200


def test_only_answers_and_their_ends_are_learned(built: Tokenizer) -> None:
    exchange = Exchange("repeat", "Say: red fox", "red fox", "red fox")
    row = rows.RowMaker(built, 1).conversation_row(corpus.Conversation("Be brief.", (), (exchange, exchange)))
    learned = [i for i, marked in zip(row.ids, row.learned, strict=True) if marked]
    answer = built.encode("red fox" + chat.TURN_END).ids
    assert learned == answer * 2


def test_a_row_reads_as_the_rendered_conversation(built: Tokenizer) -> None:
    made = corpus.training_conversation(Random(9), lambda text: len(built.encode(text).ids), 300)
    row = rows.RowMaker(built, 1).conversation_row(made)
    messages = [chat.Message("system", made.system), *made.messages()] if not made.system else made.messages()
    assert row.ids == built.encode(chat.render(messages, made.tools, add_generation_prompt=False)).ids


@pytest.mark.parametrize("seed", range(20))
def test_learned_tokens_of_a_copy_follow_a_known_pair(seed: int) -> None:
    row = rows.copy_exercise(Random(seed), 120, 1024)
    for position, marked in enumerate(row.learned):
        if marked:
            triple = row.ids[position - 2 : position + 1]
            earlier = [row.ids[n : n + 3] for n in range(position - 2)]
            assert triple in earlier


def test_listed_words_are_single_tokens_with_and_without_a_space(built: Tokenizer) -> None:
    assert not [
        word for word in words.ALL if len(built.encode(word).ids) + len(built.encode(f" {word}").ids) > 2
    ]


def test_marks_are_single_tokens(built: Tokenizer) -> None:
    for mark in (*tokenizer.SPECIAL, *tokenizer.TOOL_MARKS):
        assert len(built.encode(mark).ids) == 1
    assert built.encode("4821").tokens == ["48", "21"]
    assert built.encode(" 4821").tokens == ["Ġ48", "21"]
    assert built.decode(built.encode("naïve 漢 x\n").ids) == "naïve 漢 x\n"
