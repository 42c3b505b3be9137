"""Tool calls and reasoning through vLLM's own parsers, in the Messages and Responses APIs' words."""

from typing import Any

import anthropic
import openai
import pytest

from services.common.domain import StructuredKind
from tests.e2e.test_vllm_parsing import (  # noqa: F401 - fixtures
    CALL_1,
    CALL_2,
    PARAMETERS,
    ask,
    edge,
    thinking,
    thinking_edge,
    vllm_imported,
)
from tests.wire.gateway.conftest import Edge

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

ASKED = "What is 1 + 2?"
GIVEN = [{"a": 1, "b": "x<y>é"}, {"a": 2}]


async def message(to: Edge, *, streamed: bool, **fields: Any) -> anthropic.types.Message:
    """A message by Anthropic's client, put together by it where it is streamed."""
    asked: Any = {
        "model": "tiny",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": ASKED}],
        **fields,
    }
    async with anthropic.AsyncAnthropic(base_url=to.url, api_key="none", max_retries=0) as client:
        if not streamed:
            return await client.messages.create(**asked)
        async with client.messages.stream(**asked) as stream:
            return await stream.get_final_message()


async def response(to: Edge, *, streamed: bool, **fields: Any) -> Any:
    """A response by OpenAI's client."""
    asked: Any = {"model": "tiny", "input": ASKED, **fields}
    async with openai.AsyncOpenAI(base_url=f"{to.url}/v1", api_key="none", max_retries=0) as client:
        if not streamed:
            return await client.responses.create(**asked)
        async with client.responses.stream(**asked) as stream:
            return await stream.get_final_response()


@pytest.mark.parametrize("streamed", [False, True])
async def test_calls_in_a_message(edge: Edge, streamed: bool) -> None:  # noqa: F811
    edge.router.script = edge.says(f"Let me see.\n{CALL_1}\n{CALL_2}")
    tools = [{"name": "add", "description": "Adds.", "input_schema": PARAMETERS}]
    answer = await message(edge, streamed=streamed, tools=tools)
    said, *calls = answer.content
    assert (answer.stop_reason, said.type, said.text) == ("tool_use", "text", "Let me see.\n")
    assert [(call.type, call.name, call.input) for call in calls] == [("tool_use", "add", g) for g in GIVEN]
    assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize("streamed", [False, True])
async def test_calls_in_a_response(edge: Edge, streamed: bool) -> None:  # noqa: F811
    edge.router.script = edge.says(f"Let me see.\n{CALL_1}\n{CALL_2}")
    tools = [{"type": "function", "name": "add", "description": "Adds.", "parameters": PARAMETERS}]
    answer = await response(edge, streamed=streamed, tools=tools)
    assert answer.output_text == "Let me see.\n"
    calls = [item for item in answer.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["add", "add"]
    assert '"x<y>' in calls[0].arguments
    assert answer.status == "completed"


async def test_a_demanded_tool_constrains_the_model(edge: Edge) -> None:  # noqa: F811
    edge.router.script = edge.says(CALL_1)
    tools = [{"name": "add", "input_schema": PARAMETERS}]
    answer = await message(edge, streamed=False, tools=tools, tool_choice={"type": "any"})
    structured = edge.router.jobs[0].request.sampling.structured
    assert structured is not None
    assert structured.kind in (StructuredKind.JSON_SCHEMA, StructuredKind.STRUCTURAL_TAG)
    assert [block.type for block in answer.content] == ["tool_use"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_demanded_by_its_name_is_what_a_message_stops_for(edge: Edge, streamed: bool) -> None:  # noqa: F811
    edge.router.script = edge.says(CALL_1)
    tools = [{"name": "add", "input_schema": PARAMETERS}]
    answer = await message(edge, streamed=streamed, tools=tools, tool_choice={"type": "tool", "name": "add"})
    assert ([block.type for block in answer.content], answer.stop_reason) == (["tool_use"], "tool_use")


SCHEMA = {"type": "object", "properties": {"z": {"type": "integer"}}}


async def test_a_demanded_tool_wins_over_a_format_at_every_door(edge: Edge) -> None:  # noqa: F811
    edge.router.script = edge.says(CALL_1)
    function = {"name": "add", "parameters": PARAMETERS}
    await message(
        edge,
        streamed=False,
        tools=[{"name": "add", "input_schema": PARAMETERS}],
        tool_choice={"type": "tool", "name": "add"},
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
    )
    await response(
        edge,
        streamed=False,
        tools=[{"type": "function", **function}],
        tool_choice={"type": "function", "name": "add"},
        text={"format": {"type": "json_schema", "name": "z", "schema": SCHEMA}},
    )
    await ask(
        edge,
        tools=[{"type": "function", "function": function}],
        tool_choice={"type": "function", "function": {"name": "add"}},
        response_format={"type": "json_schema", "json_schema": {"name": "z", "schema": SCHEMA}},
    )
    assert len(edge.router.jobs) == 3
    for job in edge.router.jobs:
        structured = job.request.sampling.structured
        assert structured is not None
        assert "<tool_call>" in structured.value
        assert '"z"' not in structured.value


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"tool_choice": "required", "structured_outputs": {"regex": "a"}}, "structured_outputs"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs"),
        (
            {"structured_outputs": {"structural_tag": '{"structures": [{}], "triggers": []}'}},
            "structured_outputs",
        ),
    ],
)
async def test_what_vllm_refuses_is_a_400_with_the_field(
    edge: Edge,  # noqa: F811
    fields: dict[str, Any],
    field: str,
) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": PARAMETERS}}]
    asked = {"model": "tiny", "messages": [{"role": "user", "content": ASKED}], "tools": tools, **fields}
    async with openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.post("/chat/completions", body=asked, cast_to=object)
    assert caught.value.param == field
    assert edge.router.jobs == []


@pytest.mark.parametrize("streamed", [False, True])
async def test_thoughts(thinking_edge: Edge, streamed: bool) -> None:  # noqa: F811
    thinking_edge.router.script = thinking_edge.says("Let me think.</think>It is 3.")
    told = await message(thinking_edge, streamed=streamed)
    assert [(block.type, getattr(block, block.type)) for block in told.content] == [
        ("thinking", "Let me think."),
        ("text", "It is 3."),
    ]
    answer = await response(thinking_edge, streamed=streamed)
    thought, said = answer.output
    assert (thought.type, thought.content[0].text) == ("reasoning", "Let me think.")
    assert said.content[0].text == "It is 3."


async def test_thoughts_that_nobody_wants(thinking_edge: Edge) -> None:  # noqa: F811
    thinking_edge.router.script = thinking_edge.says("Let me think.</think>It is 3.")
    told = await message(thinking_edge, streamed=False, thinking={"type": "disabled"})
    assert [(block.type, block.text) for block in told.content] == [("text", "It is 3.")]
