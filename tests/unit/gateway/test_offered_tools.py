"""Which tools a conversation over /v1/messages offers."""

import json
from typing import Any

import pytest

from services.common.errors import InvalidField
from services.common.limits import DEFAULTS
from services.gateway.call.generation import Generation
from services.gateway.rest.anthropic.body import parse_messages
from services.gateway.rest.openai.packed_thought import pack, unpack

HI = {"role": "user", "content": "Hi"}


def tool(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "input_schema": {}, **fields}


def parsed(*messages: dict[str, Any], **fields: Any) -> Generation:
    body = {"model": "m", "max_tokens": 9, "messages": [HI, *messages], **fields}
    return parse_messages(json.dumps(body).encode(), DEFAULTS)


def offered(*messages: dict[str, Any], **fields: Any) -> list[str]:
    tools = parsed(*messages, **fields).tools
    return [one["function"]["name"] for one in tools.tools] if tools is not None else []


def found(name: str) -> dict[str, Any]:
    """The result of a client's own search for tools."""
    content = [{"type": "tool_reference", "tool_name": name}]
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": content}]}


def change(kind: str, **fields: Any) -> dict[str, Any]:
    return {"role": "system", "content": [{"type": kind, "tool": fields}]}


DEFERRED = [tool("a"), tool("b", defer_loading=True), tool("c", defer_loading=True)]


def test_deferred_tools_wait_until_the_conversation_refers_to_them() -> None:
    assert offered(tools=DEFERRED) == ["a"]
    assert offered(found("c"), tools=DEFERRED) == ["a", "c"]
    assert offered(tools=DEFERRED, tool_choice={"type": "tool", "name": "b"}) == ["a", "b"]
    assert offered(tools=[tool("b", defer_loading=True)]) == []


def test_beside_anthropic_s_own_search_nothing_is_deferred() -> None:
    search = {"type": "tool_search_tool_bm25_20251119", "name": "search"}
    assert offered(tools=[search, *DEFERRED]) == ["a", "b", "c"]


def test_tools_are_added_and_removed_within_the_conversation() -> None:
    added = change("tool_addition", type="tool_reference", name="b")
    removed = change("tool_removal", type="tool_reference", name="a")
    defined = change("tool_addition", type="tool_definition", definition=tool("d"))
    again = change("tool_addition", type="tool_definition", definition=tool("a", description="new"))
    assert offered(added, removed, tools=DEFERRED) == ["b"]
    assert offered(defined, tools=DEFERRED) == ["a", "d"]
    assert offered(removed, again, tools=[tool("a")]) == ["a"]
    assert [m["content"] for m in parsed(added, defined, tools=DEFERRED).prompts[0].messages] == ["Hi"]


def test_a_tool_at_fault_is_named_where_the_body_has_it() -> None:
    with pytest.raises(InvalidField) as caught:
        parsed(tools=[tool("b", defer_loading=True), tool("x" * 300)])
    assert caught.value.field == "tools[1].name"
    with pytest.raises(InvalidField) as caught:
        parsed(change("tool_addition", type="tool_definition", definition={"name": "d"}))
    assert caught.value.field == "messages[1].content[0].tool.definition.input_schema"


def test_hundreds_of_tools() -> None:
    assert len(offered(tools=[tool(f"t{number}") for number in range(900)])) == 900


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "document", "source": {"type": "text", "data": "words"}, "title": "T"}, "T\nwords"),
        (
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
            "x",
        ),
        ({"type": "document", "source": {"type": "content", "content": "x"}, "context": "C"}, "C\nx"),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "text/plain", "data": "w6k="}},
            "é",
        ),
        (
            {
                "type": "search_result",
                "title": "T",
                "source": "at",
                "content": [{"type": "text", "text": "x"}],
            },
            "T\nat\nx",
        ),
        ({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}, "x"),
    ],
)
def test_blocks_that_are_text(block: dict[str, Any], text: str) -> None:
    assert parsed({"role": "user", "content": [block]}).prompts[0].messages[1]["content"] == text


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": ""}}


@pytest.mark.parametrize("block", [IMAGE, PDF])
def test_what_the_model_cannot_read_is_told_in_a_tool_s_result_and_refused_of_the_user(block: Any) -> None:
    result = {"type": "tool_result", "tool_use_id": "x", "content": [{"type": "text", "text": "seen"}, block]}
    message = parsed({"role": "user", "content": [result]}).prompts[0].messages[1]
    assert message["content"].startswith("seen\n[A")
    assert "reads only text" in message["content"]
    with pytest.raises(InvalidField) as caught:
        parsed({"role": "user", "content": [block]})
    assert caught.value.field == "messages[1].content[0].type"


@pytest.mark.parametrize("field", ["thread", "compaction", "container", "mcp_servers"])
def test_what_would_change_the_answer_is_refused_by_name(field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parsed(**{field: {"type": "create"}})
    assert caught.value.field == field


def test_what_changes_nothing_is_taken() -> None:
    parsed(
        cache_control={"type": "ephemeral"},
        inference_geo="eu",
        speed="fast",
        diagnostics={"previous_message_id": None},
        fallbacks=[],
        output_config={"effort": "high", "task_budget": {"type": "tokens", "total": 9}},
        tools=[tool("f", cache_control={"type": "ephemeral"}, eager_input_streaming=True)],
        tool_choice={"type": "none"},
    )


def test_the_older_name_of_an_output_s_format() -> None:
    asked = {"type": "json_schema", "schema": {"type": "object"}}
    assert parsed(output_format=asked).sampling.structured is not None
    with pytest.raises(InvalidField) as caught:
        parsed(output_format={"type": "json_schema"})
    assert caught.value.field == "output_format.schema"


def test_thoughts_that_a_client_carries_come_back() -> None:
    signed = {"type": "thinking", "thinking": "", "signature": pack("hm, é")}
    message = parsed({"role": "assistant", "content": [signed]}).prompts[0].messages[1]
    assert message["reasoning"] == message["reasoning_content"] == "hm, é"
    for foreign in ("", None, "EqQBCkYIBBgC", "pdmesh-reasoning-1:%%", "pdmesh-reasoning-1:/w=="):
        assert unpack(foreign) == ""
