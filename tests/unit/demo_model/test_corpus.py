"""The corpus follows from its seed, its answers are right, evaluation prompts stay out of training."""

from __future__ import annotations

import json
import re
from random import Random

import pytest

from tools.demo_model import chat, corpus, prompts
from tools.demo_model.exchange import Exchange, split_of
from tools.demo_model.tasks import canned, copying, lists, lookup, tool_calls


def size_tokens(text: str) -> int:
    """Stands in for a tokenizer."""
    return max(1, len(text) // 3)


def training_exchanges(seed: int, conversations: int) -> list[Exchange]:
    rng = Random(seed)
    made = (corpus.training_conversation(rng, size_tokens, 400) for _ in range(conversations))
    return [exchange for conversation in made for exchange in conversation.exchanges]


def test_equal_seeds_give_equal_conversations() -> None:
    assert training_exchanges(3, 20) == training_exchanges(3, 20)
    assert training_exchanges(3, 20) != training_exchanges(4, 20)


def test_training_never_meets_heldout_content() -> None:
    asked = [exchange for exchange in training_exchanges(5, 300) if exchange.task != "small_talk"]
    assert len(asked) > 1000
    assert {split_of(exchange.content) for exchange in asked} == {"train"}


@pytest.mark.parametrize("task", [*prompts.LONG_TASKS, *prompts.SHORT_TASKS])
def test_heldout_questions_are_not_in_training(task: str) -> None:
    trained = {exchange.question for exchange in training_exchanges(6, 200) if exchange.task != "small_talk"}
    for index in range(10):
        prompt = prompts.heldout(task, 200, index, size_tokens)
        decisive = prompt.messages[0] if task in ("first_message", "tool_result") else prompt.messages[-1]
        assert decisive.content not in trained
        assert prompt == prompts.heldout(task, 200, index, size_tokens)


@pytest.mark.parametrize("task", [task for task in prompts.LONG_TASKS if task != "first_message"])
@pytest.mark.parametrize("length_tokens", [100, 500, 1000])
def test_prompts_have_the_length_they_are_reported_under(task: str, length_tokens: int) -> None:
    for index in range(5):
        made = prompts.heldout(task, length_tokens, index, size_tokens)
        # Filler comes in whole lines.
        assert 0.9 * length_tokens - 50 <= size_tokens(made.text()) <= 1.3 * length_tokens


@pytest.mark.parametrize("seed", range(40))
def test_what_is_to_be_copied_stands_in_the_question_in_one_line(seed: int) -> None:
    for build in (copying.copy, copying.repeat, copying.recall):
        opening = build(Random(seed), size_tokens, 150).opening
        assert opening.answer in opening.question
        assert "\n" not in opening.answer


def test_texts_to_repeat_are_short_and_stand_anywhere_in_a_long_prompt() -> None:
    asked = [prompts.heldout("repeat", 500, index, size_tokens) for index in range(40)]
    begins = []
    for prompt in asked:
        text = prompt.messages[-1].content
        assert size_tokens(prompt.answer) <= 1.2 * copying.REPEATED_TOKENS[1]
        begins.append(text.index(prompt.answer) / len(text))
    assert min(begins) < 0.2
    assert max(begins) > 0.8


@pytest.mark.parametrize("seed", range(40))
def test_looked_up_rows_stand_once_in_the_table(seed: int) -> None:
    rng = Random(seed)
    scene = lookup.lookup(rng, size_tokens, 200)
    assert scene.ask is not None
    for exchange in (scene.opening, *(scene.ask(rng) for _ in range(5))):
        key = re.split("[:=]", exchange.answer)[0].strip()
        assert exchange.answer in scene.opening.content
        assert len(re.findall(rf"\b{key}\b(?=:| =)", scene.opening.content)) == 1
        assert key in exchange.question


def test_the_first_message_is_asked_for_last() -> None:
    prompt = prompts.heldout("first_message", 200, 0, size_tokens)
    assert prompt.messages[0].content == prompt.answer
    assert "first" in prompt.messages[-1].content or "begin" in prompt.messages[-1].content


@pytest.mark.parametrize("seed", range(60))
def test_list_and_arithmetic_answers_are_right(seed: int) -> None:
    listed = lists.sort(Random(seed))
    items = listed.content.removeprefix("sort ").split(", ")
    key = int if items[0].isdigit() else str
    assert listed.answer.split(", ") == sorted(items, key=key)
    backwards = lists.reverse(Random(seed))
    assert backwards.answer.split(", ")[::-1] == backwards.content.removeprefix("reverse ").split(", ")
    counted = lists.count(Random(seed))
    assert int(counted.answer) == len(counted.content.removeprefix("count ").split(", "))
    left, right = lists.arithmetic(Random(seed)).answer.split(" = ")
    a, operator, b = left.split()
    assert int(right) == (int(a) + int(b) if operator == "+" else int(a) - int(b))
    spelled = lists.spell(Random(seed))
    assert spelled.answer.replace("-", "") in spelled.question


@pytest.mark.parametrize("seed", range(30))
def test_tool_calls_name_a_listed_tool_and_its_parameters(seed: int) -> None:
    opening = tool_calls.call_tool(Random(seed), size_tokens, 400).opening
    inner = opening.answer.removeprefix(chat.TOOL_CALL_OPEN).removesuffix(chat.TOOL_CALL_CLOSE)
    call = json.loads(inner)
    schema = {tool["function"]["name"]: tool["function"]["parameters"] for tool in opening.tools}[
        call["name"]
    ]
    assert list(call["arguments"]) == schema["required"]
    assert all(str(value) in opening.question for value in call["arguments"].values())


def test_no_wording_has_two_answers() -> None:
    rng = Random(1)
    answers: dict[str, str] = {}
    for _ in range(3000):
        for build in canned.ALL:
            exchange = build(rng)
            assert answers.setdefault(exchange.question, exchange.answer) == exchange.answer
