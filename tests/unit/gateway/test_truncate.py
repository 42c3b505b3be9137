"""`truncation: "auto"` keeps what fits."""

from array import array
from typing import Any

import pytest

from services.gateway.call.edits import Measure, Messages, render_edited
from services.gateway.rest.responses.truncate import Truncate


def turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


TALK = [
    turn("system", "S S"),
    turn("user", "a a a"),
    turn("assistant", "b"),
    turn("tool", "c c c c"),
    turn("assistant", "d"),
    turn("user", "e"),
    turn("assistant", "f f"),
    turn("user", "g g"),
]


def kept(room_tokens: int) -> str:
    """The first letter of each message that is left."""
    seen: list[Messages] = []

    def render(messages: Messages) -> "array[int]":
        seen.append(messages)
        return array("I", range(sum(len(message["content"].split()) for message in messages)))

    rendered = render_edited(TALK, [Truncate()], Measure(render, room_tokens))
    assert len(seen) <= 6  # halves what is left, instead of trying each
    assert rendered.applied == []
    final = next(messages for messages in reversed(seen) if len(render(messages)) == len(rendered.ids))
    return "".join(message["content"][0] for message in final)


@pytest.mark.parametrize(
    ("room_tokens", "expected"),
    [
        (99, "Sabcdefg"),
        (16, "Sabcdefg"),
        (15, "Sbcdefg"),
        (13, "Sbcdefg"),
        (12, "Sdefg"),  # a result does not stay without its call
        (8, "Sdefg"),
        (7, "Sefg"),
        (6, "Sfg"),
        (4, "Sg"),
        (3, "Sabcdefg"),  # not even the last one fits: refused as usual
    ],
)
def test_the_newest_that_fit_stay(room_tokens: int, expected: str) -> None:
    assert kept(room_tokens) == expected
