"""Tools of the Responses API that are no plain functions, and their calls on the way back."""

import json
from array import array
from typing import Any

import pytest

from services.common.errors import InvalidField
from services.common.limits import DEFAULTS
from services.gateway.call.call import Call
from services.gateway.call.generation import Generation
from services.gateway.call.writers import Ending, Opening, Piece, ToolCallDelta, Usage
from services.gateway.call.writers.piece import join
from services.gateway.rest.openai.format import WholeChoice
from services.gateway.rest.openai.packed_thought import pack, unpack
from services.gateway.rest.responses.body import parse_responses
from services.gateway.rest.responses.format import ResponsesFormat

ADD = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True}
PATCH = {"type": "custom", "name": "patch", "description": "Edits files."}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'}
AGENTS = {
    "type": "namespace",
    "name": "agents",
    "description": "Others.",
    "tools": [{"type": "function", "name": "spawn"}, {"type": "custom", "name": "tell"}],
}
SEARCH = {"type": "web_search", "external_web_access": False}
ALL = [ADD, PATCH, AGENTS, SEARCH]
ENDING = Ending(Usage(9, 7), [], {})


def parsed(**fields: Any) -> Generation:
    return parse_responses(json.dumps({"model": "m", "input": "Hi", **fields}).encode(), DEFAULTS)


def offered(**fields: Any) -> list[str]:
    use = parsed(**fields).tools
    return [tool["function"]["name"] for tool in use.tools] if use is not None else []


def answer(generation: Generation, pieces: list[Piece], *, stream: bool, reason: str = "tool_calls") -> Any:
    """A whole response; in a stream the one of its last event, with the kinds of all events."""
    opening = Opening("m", 1, [array("I", range(9))], (), lambda _: 0, lambda _: None)
    made = ResponsesFormat(Call("r", generation, 0.0), opening)
    if not stream:
        return json.loads(made.body([WholeChoice(0, join(pieces), reason, None)], ENDING))
    data = made.opening() + b"".join(made.delta(0, piece) for piece in pieces)
    data += made.closing(WholeChoice(0, Piece(), reason, None), ENDING)
    lines = [line for line in data.decode().splitlines() if line.startswith("data: ")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    return events[-1]["response"] | {"events": events}


def test_functions_of_namespaces_and_custom_tools_are_functions_to_the_model() -> None:
    assert offered(tools=ALL) == ["add", "patch", "agents__spawn", "agents__tell"]
    use = parsed(tools=[{**PATCH, "format": GRAMMAR}]).tools
    assert use is not None
    parameters = use.tools[0]["function"]["parameters"]
    assert parameters["required"] == ["input"]
    assert 'lark grammar:\nstart: "x"' in parameters["properties"]["input"]["description"]


def test_a_namespace_that_ends_with_its_own_mark_gets_no_second_one() -> None:
    assert offered(tools=[{**AGENTS, "name": "mcp__docs__"}]) == ["mcp__docs__spawn", "mcp__docs__tell"]


SERVER_TYPES = [
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
    "file_search",
    "code_interpreter",
    "computer_use_preview",
    "image_generation",
    "mcp",
    "local_shell",
    "apply_patch",
    "tool_search",
]


@pytest.mark.parametrize("kind", SERVER_TYPES)
def test_tools_of_openai_s_servers_are_left_out_unless_they_are_demanded(kind: str) -> None:
    server = {"type": kind, "server_label": "x", "container": {"type": "auto"}}
    assert offered(tools=[server]) == []
    assert offered(tools=[ADD, server]) == ["add"]
    with pytest.raises(InvalidField, match="no tools of its own") as caught:
        parsed(tools=[ADD, server], tool_choice={"type": kind})
    assert caught.value.field == "tool_choice.type"
    with pytest.raises(InvalidField, match="no tools of its own"):
        parsed(tools=[server], tool_choice="required")


def allowed(*tools: dict[str, Any], mode: str = "auto") -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": mode, "tools": list(tools)}


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (allowed({"type": "function", "name": "add"}), ["add"]),
        (allowed({"type": "custom", "name": "patch"}, {"type": "web_search"}), ["patch"]),
        (allowed({"type": "namespace", "name": "agents"}), ["agents__spawn", "agents__tell"]),
        (allowed({"type": "function", "name": "spawn", "namespace": "agents"}), ["agents__spawn"]),
        (allowed({"type": "function", "name": "agents__spawn"}), ["agents__spawn"]),
    ],
)
def test_allowed_tools(choice: dict[str, Any], names: list[str]) -> None:
    assert offered(tools=ALL, tool_choice=choice) == names
    use = parsed(tools=ALL, tool_choice={**choice, "mode": "required"}).tools
    assert use is not None
    assert (use.choice, use.named) == ("required", "")


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        ({"type": "function", "name": "add"}, "add"),
        ({"type": "custom", "name": "patch"}, "patch"),
        ({"type": "function", "name": "spawn", "namespace": "agents"}, "agents__spawn"),
    ],
)
def test_one_tool_is_demanded_by_the_caller_s_name(choice: dict[str, Any], named: str) -> None:
    use = parsed(tools=ALL, tool_choice=choice).tools
    assert use is not None
    assert use.named == named


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"tools": [{"type": "web_serch"}]}, "tools[0].type"),
        ({"tools": [{**AGENTS, "name": None}]}, "tools[0].name"),
        ({"tools": [{**AGENTS, "tools": [AGENTS]}]}, "tools[0].tools[0].type"),
        ({"tools": [SEARCH, {"type": "custom", "name": ""}]}, "tools[1].name"),
        ({"tools": [{**PATCH, "format": {"type": "grammar"}}]}, "tools[0].format"),
        ({"tools": [AGENTS, {"type": "function", "name": "agents__spawn"}]}, "tools[1].name"),
        ({"tools": ALL, "tool_choice": {"type": "function", "name": "spawn"}}, "tool_choice.name"),
        ({"tools": ALL, "tool_choice": allowed({"type": "function", "name": "x"})}, "tool_choice.tools"),
        (
            {"tools": ALL, "tool_choice": allowed({"type": "function", "name": "add"}, mode="any")},
            "tool_choice.mode",
        ),
        ({"tools": ALL, "tool_choice": {"type": "magic"}}, "tool_choice.type"),
        ({"truncation": "middle"}, "truncation"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0].type"),
    ],
)
def test_what_cannot_be_is_named(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parsed(**fields)
    assert caught.value.field == name


CALLS = [
    Piece(text="Now."),
    Piece(tool_calls=(ToolCallDelta(0, call_id="a", name="patch"),)),
    Piece(tool_calls=(ToolCallDelta(0, arguments='{"input": "one\\n'),)),
    Piece(tool_calls=(ToolCallDelta(0, arguments='two é"}'),)),
    Piece(tool_calls=(ToolCallDelta(1, call_id="b", name="agents__spawn", arguments="{}"),)),
    Piece(tool_calls=(ToolCallDelta(2, call_id="c", name="unheard", arguments="{}"),)),
    Piece(tool_calls=(ToolCallDelta(3, call_id="d", name="agents__tell", arguments="plain"),)),
]


@pytest.mark.parametrize("stream", [False, True])
def test_calls_come_back_in_the_caller_s_words(stream: bool) -> None:
    told = answer(parsed(tools=ALL), CALLS, stream=stream)
    _, patch, spawn, unheard, tell = told["output"]
    assert (patch["type"], patch["name"], patch["input"]) == ("custom_tool_call", "patch", "one\ntwo é")
    assert patch["id"].startswith("ctc_")
    assert "namespace" not in patch
    assert (spawn["type"], spawn["name"], spawn["namespace"]) == ("function_call", "spawn", "agents")
    assert (unheard["type"], unheard["name"]) == ("function_call", "unheard")
    assert (tell["namespace"], tell["input"]) == ("agents", "plain")
    assert [item["call_id"] for item in told["output"][1:]] == ["a", "b", "c", "d"]
    if stream:
        kinds = [event["type"] for event in told["events"] if event.get("output_index") == 1]
        assert kinds == [
            "response.output_item.added",
            "response.custom_tool_call_input.delta",
            "response.custom_tool_call_input.done",
            "response.output_item.done",
        ]


def test_a_conversation_goes_on_under_the_model_s_names() -> None:
    items = [
        {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": "one"},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "done"},
        {"type": "function_call", "call_id": "b", "name": "spawn", "namespace": "agents", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "b",
            "output": [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": "data:"}],
        },
        {"type": "web_search_call", "id": "w", "status": "completed"},
        {"type": "mcp_list_tools", "id": "m"},
        {"type": "computer_call_output", "call_id": "z"},
        {"role": "user", "content": "go on"},
    ]
    messages = parsed(input=items, tools=ALL).prompts[0].messages
    assert [message["role"] for message in messages] == ["assistant", "tool", "assistant", "tool", "user"]
    first, second = (messages[at]["tool_calls"][0]["function"] for at in (0, 2))
    assert first == {"name": "patch", "arguments": {"input": "one"}}
    assert second == {"name": "agents__spawn", "arguments": {}}
    assert messages[3]["content"].startswith("see\n[An image was here.")


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_go_to_the_client_and_come_back(stream: bool) -> None:
    pieces = [Piece(reasoning="Let me "), Piece(reasoning="think."), Piece(text="So.")]
    asked = parsed(include=["reasoning.encrypted_content"], store=False)
    thought = answer(asked, pieces, stream=stream, reason="stop")["output"][0]
    assert unpack(thought["encrypted_content"]) == "Let me think."
    # A client that keeps nothing but the field.
    sent = {
        "type": "reasoning",
        "id": thought["id"],
        "summary": [],
        "encrypted_content": thought["encrypted_content"],
    }
    (message,) = parsed(input=[sent]).prompts[0].messages
    assert message["reasoning"] == "Let me think."
    plain = answer(parsed(), pieces, stream=stream, reason="stop")["output"][0]
    assert plain["encrypted_content"] is None


def test_thoughts_of_others_are_not_made_up() -> None:
    sent = {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "sum"}],
        "encrypted_content": "gAAA",
    }
    assert parsed(input=[sent]).prompts[0].messages[0]["reasoning"] == "sum"
    both = {
        "type": "reasoning",
        "content": [{"type": "reasoning_text", "text": "x"}],
        "encrypted_content": pack("y"),
    }
    assert parsed(input=[both]).prompts[0].messages[0]["reasoning"] == "x"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_cut_in_its_thoughts_has_no_message(stream: bool) -> None:
    told = answer(parsed(), [Piece(reasoning="Let me")], stream=stream, reason="length")
    assert [(item["type"], item["status"]) for item in told["output"]] == [("reasoning", "incomplete")]
    assert told["status"] == "incomplete"


REQUIRED = [
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "incomplete_details",
    "model",
    "previous_response_id",
    "instructions",
    "output",
    "error",
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
]
"""What Open Responses demands of every response object."""


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_repeats_what_was_asked(stream: bool) -> None:
    asked: dict[str, Any] = {
        "instructions": "Be brief.",
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "top_p": 0.9,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "max_output_tokens": 9,
        "max_tool_calls": 3,
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "parallel_tool_calls": False,
        "truncation": "auto",
        "tools": [ADD, PATCH],
        "tool_choice": "none",
        "reasoning": {"effort": "low", "summary": "auto"},
    }
    told = answer(parsed(**asked), [Piece(text="x")], stream=stream, reason="stop")
    assert set(REQUIRED) <= set(told)
    for name in asked:
        if name != "tools":
            assert told[name] == asked[name]
    assert [tool["name"] for tool in told["tools"]] == ["add", "patch"]
    assert told["tools"][0]["strict"] is True
    assert told["completed_at"] >= told["created_at"]


def test_a_response_says_what_holds_where_nothing_was_asked() -> None:
    told = answer(parsed(), [Piece(text="x")], stream=True, reason="stop")
    assert (told["temperature"], told["top_p"], told["top_logprobs"]) == (1.0, 1.0, 0)
    assert told["text"] == {"format": {"type": "text"}, "verbosity": "medium"}
    assert (told["service_tier"], told["background"], told["metadata"]) == ("default", False, {})
    first = told["events"][0]["response"]
    assert set(REQUIRED) <= set(first)
    assert (first["completed_at"], first["usage"], first["status"]) == (None, None, "in_progress")
