"""What is left out of long conversations, by edits that count tokens."""

from array import array
from typing import Any

import msgspec
import pytest

from services.common.errors import InvalidField
from services.gateway.call.edits import Measure, Messages, render_edited
from services.gateway.rest.anthropic.clear_tool_uses import STANDS_IN
from services.gateway.rest.anthropic.context_management import ContextManagement, edits_of

THINK, USES = "clear_thinking_20251015", "clear_tool_uses_20250919"


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str, thought: str = "", *calls: tuple[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {"role": "assistant", "content": text}
    if thought:
        made |= {"reasoning": thought, "reasoning_content": thought}
    if calls:
        made["tool_calls"] = [
            {"id": i, "function": {"name": name, "arguments": {"at": "some place"}}} for i, name in calls
        ]
    return made


def result(call_id: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


LONG = "word " * 40
TALK = [
    user("one"),
    assistant("", "first thought", ("a", "look")),
    result("a", LONG),
    assistant("seen", "second thought"),
    user("two"),
    assistant("", "", ("b", "look"), ("c", "find")),
    result("b", LONG),
    result("c", LONG),
    user("three"),
    assistant("", "third thought", ("d", "look")),
    result("d", LONG),
]


def words(messages: Messages) -> "array[int]":
    """A token for each word of a conversation."""
    texts = [str(value) for message in messages for value in message.values()]
    return array("I", range(len(" ".join(texts).split())))


def edited(*edits: dict[str, Any], messages: Messages = TALK) -> tuple[Messages, list[dict[str, Any]]]:
    """The conversation that is rendered, and what was told of it."""
    seen: list[Messages] = []

    def render(given: Messages) -> "array[int]":
        seen.append(given)
        return words(given)

    asked = msgspec.convert({"edits": list(edits)}, ContextManagement)
    rendered = render_edited(messages, edits_of(asked), Measure(render, 1_000_000))
    final = next(given for given in reversed(seen) if words(given) == rendered.ids)
    assert rendered.original_tokens == len(words(messages))
    cleared_tokens = sum(note["cleared_input_tokens"] for note in rendered.applied)
    assert rendered.original_tokens - len(rendered.ids) == cleared_tokens
    return final, list(rendered.applied)


def thoughts(messages: Messages) -> list[str]:
    return [message["reasoning"] for message in messages if "reasoning" in message]


@pytest.mark.parametrize(
    ("keep", "kept", "turns"),
    [
        (None, ["third thought"], 1),
        ({"type": "thinking_turns", "value": 1}, ["third thought"], 1),
        ({"type": "thinking_turns", "value": 2}, ["first thought", "second thought", "third thought"], 0),
        ("all", ["first thought", "second thought", "third thought"], 0),
        ({"type": "all"}, ["first thought", "second thought", "third thought"], 0),
    ],
)
def test_old_thoughts(keep: Any, kept: list[str], turns: int) -> None:
    messages, told = edited({"type": THINK} | ({"keep": keep} if keep else {}))
    assert thoughts(messages) == kept
    assert all("reasoning_content" in message for message in messages if "reasoning" in message)
    assert [note["cleared_thinking_turns"] for note in told] == ([turns] if turns else [])


def test_results_stay_while_the_conversation_is_short() -> None:
    for trigger in ({"type": "input_tokens", "value": 10_000}, {"type": "tool_uses", "value": 4}):
        assert edited({"type": USES, "trigger": trigger}) == (TALK, [])
    assert edited({"type": USES}) == (TALK, [])  # 100 000 tokens


@pytest.mark.parametrize(
    ("fields", "cleared"),
    [
        ({"keep": {"type": "tool_uses", "value": 3}}, ["a"]),
        ({}, ["a"]),
        ({"keep": {"type": "tool_uses", "value": 1}}, ["a", "b", "c"]),
        ({"keep": {"type": "tool_uses", "value": 0}}, ["a", "b", "c", "d"]),
        ({"keep": {"type": "tool_uses", "value": 9}}, []),
        ({"keep": {"type": "tool_uses", "value": 1}, "exclude_tools": ["find"]}, ["a", "b"]),
        ({"keep": {"type": "tool_uses", "value": 0}, "exclude_tools": ["find", "look"]}, []),
        (
            {
                "keep": {"type": "tool_uses", "value": 0},
                "clear_at_least": {"type": "input_tokens", "value": 100},
            },
            ["a", "b", "c", "d"],
        ),
        ({"clear_at_least": {"type": "input_tokens", "value": 100}}, []),
    ],
)
@pytest.mark.parametrize("trigger", [("input_tokens", 50), ("tool_uses", 3)])
def test_old_results(fields: dict[str, Any], cleared: list[str], trigger: tuple[str, int]) -> None:
    kind, value = trigger
    messages, told = edited({"type": USES, "trigger": {"type": kind, "value": value}, **fields})
    gone = [message["tool_call_id"] for message in messages if message["content"] == STANDS_IN]
    assert gone == cleared
    assert [note["cleared_tool_uses"] for note in told] == ([len(cleared)] if cleared else [])
    assert [message["role"] for message in messages] == [message["role"] for message in TALK]


@pytest.mark.parametrize(("inputs", "gone"), [(False, []), (True, ["a", "b", "c"]), (["find"], ["c"])])
def test_inputs_go_where_they_are_to(inputs: Any, gone: list[str]) -> None:
    keep = {"type": "tool_uses", "value": 1}
    trigger = {"type": "tool_uses", "value": 1}
    edit = {"type": USES, "keep": keep, "trigger": trigger, "clear_tool_inputs": inputs}
    messages, _ = edited(edit)
    calls = [call for message in messages for call in message.get("tool_calls", ())]
    assert [call["id"] for call in calls if call["function"]["arguments"] == {}] == gone


def test_nothing_is_cleared_where_that_would_save_nothing() -> None:
    short = [user("x"), assistant("", "", ("a", "f")), result("a", "ok")]
    edit = {
        "type": USES,
        "keep": {"type": "tool_uses", "value": 0},
        "trigger": {"type": "tool_uses", "value": 0},
    }
    assert edited(edit, messages=short) == (short, [])


def test_edits_are_made_in_their_order() -> None:
    uses = {"type": USES, "trigger": {"type": "tool_uses", "value": 1}}
    _, told = edited({"type": THINK}, uses, {"type": "compact_20260112"})
    assert [note["type"] for note in told] == [THINK, USES]


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        ({"type": "clear_everything"}, "type"),
        ({"type": THINK, "keep": "none"}, "keep.type"),
        ({"type": THINK, "keep": {"type": "thinking_turns", "value": 0}}, "keep.value"),
        ({"type": THINK, "keep": {"type": "thinking_turns"}}, "keep.value"),
        ({"type": USES, "keep": {"type": "thinking_turns", "value": 1}}, "keep.type"),
        ({"type": USES, "keep": {"type": "tool_uses", "value": -1}}, "keep.value"),
        ({"type": USES, "trigger": {"type": "minutes", "value": 1}}, "trigger.type"),
        ({"type": USES, "trigger": {"type": "tool_uses", "value": 2**40}}, "trigger.value"),
        ({"type": USES, "clear_at_least": {"type": "tool_uses", "value": 1}}, "clear_at_least.type"),
    ],
)
def test_an_edit_that_cannot_be_is_named(edit: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidField) as caught:
        edits_of(msgspec.convert({"edits": [edit]}, ContextManagement))
    assert caught.value.field == f"context_management.edits[0].{name}"


def test_edits_are_bounded() -> None:
    with pytest.raises(InvalidField, match="at most 8"):
        edits_of(msgspec.convert({"edits": [{"type": THINK}] * 9}, ContextManagement))
