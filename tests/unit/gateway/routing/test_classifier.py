"""Small or large: the points, and classifiers of an operator's own."""

import dataclasses
from typing import Any

import pytest

from services.common.errors import BadSetting
from services.gateway.call.generation import Generation, Prompt
from services.gateway.models.routing.classifier import Points, Verdict, load_classifier
from services.gateway.models.routing.entry import AutoEntry
from tests.unit.gateway.routing.asking import asks, chat, ids, text

ENTRY = AutoEntry(small="s", large="l")
CODE = "```python\nx = 1\n```"


class LongNames:
    """An operator's own classifier: by the length of the user's text."""

    def __init__(self, entry: AutoEntry) -> None:
        self.entry = entry

    def classify(self, generation: Generation) -> Verdict:
        return Verdict(generation.size_bytes > 10, "own")


class Broken:
    def __init__(self, entry: AutoEntry) -> None:
        raise RuntimeError("no licence")


class WithoutMethod:
    def __init__(self, entry: AutoEntry) -> None:
        pass


@pytest.mark.parametrize(
    ("prompt", "fields", "is_large", "reason"),
    [
        (chat("Hello"), {}, False, "nothing hard (0 of 2 points)"),
        (text("Hello"), {}, False, "nothing hard (0 of 2 points)"),
        (ids(10), {}, False, "nothing hard (0 of 2 points)"),
        (chat("x" * 4_000), {}, True, "long prompt (2 of 2 points)"),
        (chat("x" * 3_000, "y" * 1_000), {}, True, "long prompt (2 of 2 points)"),
        (text("x" * 3_999), {}, False, "nothing hard (0 of 2 points)"),
        (ids(1_000), {}, True, "long prompt (2 of 2 points)"),
        (chat(CODE, "and now?"), {}, True, "code (2 of 2 points)"),
        (text(CODE), {}, True, "code (2 of 2 points)"),
        (chat("Explain this"), {}, False, "question (1 of 2 points)"),
        (chat("Explain this", "thanks"), {}, False, "nothing hard (0 of 2 points)"),
        (chat("somehow showy"), {}, False, "nothing hard (0 of 2 points)"),
        (chat("x " * 900 + "WHY?"), {}, False, "question (1 of 2 points)"),
        (chat("Why?"), {"max_tokens": 1_000}, True, "question, long answer (2 of 2 points)"),
        (chat(*["x"] * 8), {}, False, "long conversation (1 of 2 points)"),
    ],
)
def test_points(prompt: Prompt, fields: dict[str, Any], is_large: bool, reason: str) -> None:
    assert Points(ENTRY).classify(asks("auto", prompt, **fields)) == Verdict(is_large, reason)


def test_thresholds_and_words_come_from_the_file() -> None:
    entry = dataclasses.replace(
        ENTRY, large_points=1, question_words=("warum", "c++"), code_points=0, long_prompt_chars=10
    )
    points = Points(entry)
    assert points.classify(asks("auto", chat("Warum?"))).is_large
    assert not points.classify(asks("auto", chat("Why?"))).is_large
    assert not points.classify(asks("auto", chat("```"))).is_large
    assert points.classify(asks("auto", chat("0123456789"))).reason == "long prompt (2 of 1 points)"
    assert not Points(dataclasses.replace(entry, question_words=())).classify(asks("a", chat("?"))).is_large


def test_a_question_in_the_middle_of_much_text_is_not_looked_for() -> None:
    """The time that is taken does not grow with the prompt."""
    hidden = "x " * 1_500 + "why" + " x" * 1_500
    assert "question" not in Points(ENTRY).classify(asks("auto", text(hidden))).reason


def test_an_own_classifier_is_named_by_module_and_class() -> None:
    entry = dataclasses.replace(ENTRY, classifier=f"{__name__}:LongNames")
    made = load_classifier(entry)
    assert isinstance(made, LongNames)
    assert made.entry is entry
    assert made.classify(asks("auto", size_bytes=11)) == Verdict(True, "own")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("learned", "neither points nor MODULE:CLASS"),
        ("no_such_module:X", "ModuleNotFoundError"),
        (f"{__name__}:Missing", "AttributeError"),
        (f"{__name__}:Broken", "no licence"),
        (f"{__name__}:WithoutMethod", "no method classify"),
    ],
)
def test_a_classifier_that_cannot_be_made_is_a_bad_setting(name: str, says: str) -> None:
    with pytest.raises(BadSetting, match=says):
        load_classifier(dataclasses.replace(ENTRY, classifier=name))
