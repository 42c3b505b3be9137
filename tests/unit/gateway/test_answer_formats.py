"""Answers with reasoning and tools in the words of the other APIs, whole and in a stream."""

import json
from array import array
from typing import Any

import pytest

from services.common.domain import Sampling
from services.gateway.call.call import Call
from services.gateway.call.generation import Generation, TextPrompt
from services.gateway.call.writers import Ending, Opening, Piece, ToolCallDelta, Usage
from services.gateway.call.writers.piece import join
from services.gateway.rest.anthropic.asked import Asked
from services.gateway.rest.anthropic.format import MessagesFormat
from services.gateway.rest.openai.format import WholeChoice
from services.gateway.rest.openai.packed_thought import unpack
from services.gateway.rest.responses.format import ResponsesFormat

PIECES = [
    Piece(reasoning="Let me "),
    Piece(reasoning="think."),
    Piece(text="I shall "),
    Piece(text="look.", tool_calls=(ToolCallDelta(0, call_id="a", name="look"),)),
    Piece(tool_calls=(ToolCallDelta(0, arguments='{"at": '),)),
    Piece(tool_calls=(ToolCallDelta(0, arguments='"sky"}'),)),
    Piece(tool_calls=(ToolCallDelta(1, call_id="b", name="wait", arguments="{}"),)),
]
LAST = WholeChoice(0, Piece(), "tool_calls", None)
ENDING = Ending(Usage(9, 7, cached_tokens=4, reasoning_tokens=2), [], {})


def opened(kind: Any, asked: Any = None) -> Any:
    call = Call("r", Generation("m", (TextPrompt("x"),), Sampling(max_tokens=9), asked=asked), 0.0)
    opening = Opening("m", 1, [array("i", range(9))], (), lambda _: 0, lambda _: None)
    return kind(call, opening)


def events_of(data: bytes) -> list[dict[str, Any]]:
    made = []
    for block in data.decode().split("\n\n")[:-1]:
        name, payload = block.split("\n")
        event = json.loads(payload.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        made.append(event)
    return made


def streamed(made: Any, pieces: list[Piece]) -> list[dict[str, Any]]:
    return events_of(
        made.opening() + b"".join(made.delta(0, piece) for piece in pieces) + made.closing(LAST, ENDING)
    )


def put_together(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What Anthropic's clients make of a stream."""
    message: dict[str, Any] = {}
    for event in events:
        if event["type"] == "message_start":
            message = event["message"]
        elif event["type"] == "content_block_start":
            assert event["index"] == len(message["content"])
            message["content"].append(event["content_block"] | {"json": ""})
        elif event["type"] == "content_block_delta":
            block, delta = message["content"][event["index"]], event["delta"]
            for name in ("text", "thinking", "signature"):
                block.update({name: block[name] + delta[name]} if name in delta else {})
            block["json"] += delta.get("partial_json", "")
        elif event["type"] == "message_delta":
            message |= event["delta"] | {"usage": event["usage"]}
    for block in message["content"]:
        given = block.pop("json")
        if block["type"] == "tool_use":
            block["input"] = json.loads(given)
    return message


@pytest.mark.parametrize("pieces", [PIECES, [join(PIECES)]])
def test_anthropic_s_stream_says_what_the_whole_says(pieces: list[Piece]) -> None:
    whole = json.loads(
        opened(MessagesFormat).body([WholeChoice(0, join(PIECES), "tool_calls", None)], ENDING)
    )
    assert put_together(streamed(opened(MessagesFormat), pieces)) == whole
    assert [block["type"] for block in whole["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert whole["content"][2] == {"type": "tool_use", "id": "a", "name": "look", "input": {"at": "sky"}}
    assert whole["stop_reason"] == "tool_use"


CALLS = [ToolCallDelta(0, call_id="a", name="look", arguments='{"at": "sky"}')]


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(
    ("calls", "finish_reason", "expected"),
    [
        (CALLS, "stop", "tool_use"),  # a tool that was demanded by its name
        (CALLS, "length", "tool_use"),
        ([ToolCallDelta(0, call_id="a", name="look")], "stop", "tool_use"),
        ([ToolCallDelta(0, call_id="a", name="look", arguments='{"at": "s')], "length", "max_tokens"),
        ([*CALLS, ToolCallDelta(1, call_id="b", name="look", arguments="[")], "length", "max_tokens"),
        ([], "stop", "end_turn"),
        ([], "length", "max_tokens"),
    ],
)
def test_a_complete_tool_call_is_what_anthropic_s_answer_stops_for(
    calls: list[ToolCallDelta], finish_reason: str, expected: str, streams: bool
) -> None:
    made, piece = opened(MessagesFormat), Piece(text="Well.", tool_calls=tuple(calls))
    if streams:
        data = made.opening() + made.delta(0, Piece(text="Well."))
        for call in calls:
            for part in cut(call):
                data += made.delta(0, Piece(tool_calls=(part,)))
        events = events_of(data + made.closing(WholeChoice(0, Piece(), finish_reason, None), ENDING))
        assert events[-2]["delta"]["stop_reason"] == expected
    else:
        whole = json.loads(made.body([WholeChoice(0, piece, finish_reason, None)], ENDING))
        assert whole["stop_reason"] == expected


def cut(call: ToolCallDelta) -> list[ToolCallDelta]:
    """A call as it comes in a stream: its name first, then its arguments in halves."""
    half = len(call.arguments) // 2
    begun = ToolCallDelta(call.index, call_id=call.call_id, name=call.name)
    return [
        begun,
        *(ToolCallDelta(call.index, arguments=a) for a in (call.arguments[:half], call.arguments[half:])),
    ]


@pytest.mark.parametrize("pieces", [PIECES, [join(PIECES)]])
def test_thoughts_that_are_not_to_be_shown_are_carried(pieces: list[Piece]) -> None:
    asked = Asked(omits_thinking=True)
    whole = json.loads(
        opened(MessagesFormat, asked).body([WholeChoice(0, join(PIECES), "tool_calls", None)], ENDING)
    )
    events = streamed(opened(MessagesFormat, asked), pieces)
    assert put_together(events) == whole
    thought = whole["content"][0]
    assert (thought["thinking"], unpack(thought["signature"])) == ("", "Let me think.")
    assert "thinking_delta" not in [event.get("delta", {}).get("type") for event in events]


def test_blocks_are_closed_before_the_next_is_opened() -> None:
    is_open = False
    for event in streamed(opened(MessagesFormat), PIECES):
        if event["type"] == "content_block_start":
            assert not is_open
            is_open = True
        elif event["type"] == "content_block_stop":
            assert is_open
            is_open = False
    assert not is_open


@pytest.mark.parametrize("pieces", [PIECES, [join(PIECES)]])
def test_the_responses_stream_says_what_the_whole_says(pieces: list[Piece]) -> None:
    whole = json.loads(
        opened(ResponsesFormat).body([WholeChoice(0, join(PIECES), "tool_calls", None)], ENDING)
    )
    events = streamed(opened(ResponsesFormat), pieces)
    last = events[-1]["response"]
    for item in [*whole["output"], *last["output"]]:
        item.pop("id")
    assert last == whole
    kinds = [item["type"] for item in whole["output"]]
    assert kinds == ["reasoning", "message", "function_call", "function_call"]
    assert whole["output"][2]["arguments"] == '{"at": "sky"}'


def test_an_empty_answer_is_one_too() -> None:
    nothing = WholeChoice(0, Piece(), "stop", None)
    made = opened(ResponsesFormat)
    events = events_of(made.opening() + made.closing(nothing, ENDING))
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == ""
    whole = json.loads(opened(MessagesFormat).body([nothing], ENDING))
    assert (whole["content"], whole["stop_reason"]) == ([], "end_turn")
