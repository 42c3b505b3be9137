"""The demo's question has one answer, and the demo says whether it came."""

from pathlib import Path

import pytest

from services.cli.demo import Answer, DemoSettings, verdict
from services.cli.demo_question import QUESTION, RIGHT_ANSWER, ROWS, shortened
from tools.demo_model import words

DISAGGREGATED = {"path": "disaggregated"}


def test_every_row_can_be_told_from_the_others_and_is_made_of_words_the_model_knows() -> None:
    keys, values = zip(*(row.split(": ") for row in ROWS), strict=True)
    assert len(set(keys)) == len(set(values)) == len(ROWS) > 100
    assert set(keys) <= set(words.NOUNS)


def test_the_row_that_is_asked_for_stands_in_the_first_tenth() -> None:
    assert QUESTION.count(RIGHT_ANSWER) == 1
    assert QUESTION.index(RIGHT_ANSWER) < len(QUESTION) / 10
    assert QUESTION.splitlines()[-1] == f"What is the value of {RIGHT_ANSWER.partition(':')[0]}?"


def test_people_see_a_short_question_with_the_row_that_matters() -> None:
    lines = shortened().splitlines()
    assert len(lines) < 12
    assert RIGHT_ANSWER in lines
    assert lines[-1] == QUESTION.splitlines()[-1]


@pytest.mark.parametrize(
    ("settings", "is_known"),
    [
        (DemoSettings(), True),
        (DemoSettings(model=str(Path("models/demo").resolve())), True),
        (DemoSettings(engine="sim"), False),
        (DemoSettings(question="Hello"), False),
        (DemoSettings(model="models/other"), False),
    ],
)
def test_the_right_answer_is_known_for_the_demo_models_own_question(
    settings: DemoSettings, is_known: bool
) -> None:
    assert settings.right_answer == (RIGHT_ANSWER if is_known else "")


@pytest.mark.parametrize(
    ("answer", "right_answer", "is_wanted"),
    [
        (Answer(RIGHT_ANSWER, DISAGGREGATED), RIGHT_ANSWER, True),
        (Answer("engine: 1", DISAGGREGATED), RIGHT_ANSWER, False),
        (Answer(RIGHT_ANSWER, {"path": "local"}), RIGHT_ANSWER, False),
        (Answer(), RIGHT_ANSWER, False),
        (Answer("anything", DISAGGREGATED), "", True),
    ],
)
def test_only_a_right_answer_over_the_disaggregated_path_will_do(
    answer: Answer, right_answer: str, is_wanted: bool
) -> None:
    assert answer.is_as_wanted(right_answer) is is_wanted


def test_the_verdict_says_right_or_wrong_or_nothing() -> None:
    assert "Right" in verdict(Answer(RIGHT_ANSWER), RIGHT_ANSWER)
    assert RIGHT_ANSWER in verdict(Answer("engine: 1"), RIGHT_ANSWER)
    assert verdict(Answer("engine: 1"), "") == ""
