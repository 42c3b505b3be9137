"""Tool calls and reasoning through vLLM's own parsers: no engine, a scripted router, the official client."""

import asyncio
import json
import shutil
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from tokenizers import AddedToken, Tokenizer

from services.common.domain import StructuredKind
from services.common.errors import BadSetting
from services.gateway.models.parsing import load_parsing
from tests.wire.gateway.conftest import Edge, running_edge

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

DEMO = Path("models/demo")
HELLO = [{"role": "user", "content": "What is 1 + 2?"}]
PARAMETERS = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
ADD = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": PARAMETERS}}
CALL_1 = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "x<y>é"}}\n</tool_call>'
CALL_2 = '<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n</tool_call>'


@pytest.fixture(scope="module", autouse=True)
def vllm_imported() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_parsing(DEMO, "hermes", "")


@pytest.fixture(scope="module")
def thinking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model's tokenizer with marks for reasoning."""
    directory = tmp_path_factory.mktemp("thinking")
    for path in DEMO.glob("*.json*"):
        shutil.copy(path, directory)
    shutil.copy(DEMO / "chat_template.jinja", directory)
    tokenizer = Tokenizer.from_file(str(DEMO / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken(mark, special=False) for mark in ("<think>", "</think>")])
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with running_edge(DEMO, grace_ms=200, tool_call_parser="hermes") as running:
        yield running


@pytest.fixture
async def thinking_edge(thinking: Path) -> AsyncIterator[Edge]:
    parsers = {"tool_call_parser": "hermes", "reasoning_parser": "deepseek_r1"}
    async with running_edge(thinking, grace_ms=200, **parsers) as running:
        yield running


async def ask(edge: Edge, **fields: Any) -> Any:
    """The first choice of a whole answer."""
    asked = {"model": "tiny", "messages": HELLO, **fields}
    async with openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="none", max_retries=0) as client:
        return (await client.chat.completions.create(**asked)).choices[0]


async def ask_streamed(edge: Edge, **fields: Any) -> tuple[dict[str, Any], list[Any]]:
    """The message put together from a stream as clients do it, and the stream's chunks."""
    asked = {"model": "tiny", "messages": HELLO, "stream": True, **fields}
    message: dict[str, Any] = {"content": "", "reasoning": "", "calls": {}, "finish_reason": None}
    async with openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="none", max_retries=0) as client:
        chunks = [chunk async for chunk in await client.chat.completions.create(**asked)]
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        message["finish_reason"] = choice.finish_reason or message["finish_reason"]
        message["content"] += choice.delta.content or ""
        message["reasoning"] += (choice.delta.model_extra or {}).get("reasoning_content", "")
        for call in choice.delta.tool_calls or []:
            known = message["calls"].setdefault(call.index, [call.id, call.function.name, ""])
            known[2] += call.function.arguments or ""
    return message, chunks


async def test_calls_in_a_whole_answer(edge: Edge) -> None:
    edge.router.script = edge.says(f"Let me see.\n{CALL_1}\n{CALL_2}")
    choice = await ask(edge, tools=[ADD])
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see.\n"
    first, second = choice.message.tool_calls
    assert (first.type, first.function.name) == ("function", "add")
    assert json.loads(first.function.arguments) == {"a": 1, "b": "x<y>é"}
    assert json.loads(second.function.arguments) == {"a": 2}
    assert first.id != second.id


@pytest.mark.parametrize("per_frame", [1, 7, 1000])
async def test_calls_in_a_stream(edge: Edge, per_frame: int) -> None:
    edge.router.script = edge.says(f"Let me see.\n{CALL_1}\n{CALL_2}", per_frame=per_frame)
    message, _ = await ask_streamed(edge, tools=[ADD])
    assert message["finish_reason"] == "tool_calls"
    assert message["content"] == "Let me see.\n"
    assert sorted(message["calls"]) == [0, 1]
    call_id, name, arguments = message["calls"][0]
    assert call_id.startswith("chatcmpl-tool-")
    assert (name, json.loads(arguments)) == ("add", {"a": 1, "b": "x<y>é"})
    assert json.loads(message["calls"][1][2]) == {"a": 2}


async def test_arguments_stream_as_they_come(edge: Edge) -> None:
    ids = edge.ids(CALL_1)
    half = len(ids) // 2
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(first_call_delta(edge))
        job = await edge.router.job(1)
        for token_id in ids[:half]:
            job.send([token_id])
            await asyncio.sleep(0.001)
        assert await asked == "add"
        job.send(ids[half:])
        job.end()


async def first_call_delta(edge: Edge) -> str:
    """The name in a stream's first piece of a call; leaves then."""
    async with openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="none", max_retries=0) as client:
        create = client.chat.completions.create
        async with await create(model="tiny", messages=HELLO, tools=[ADD], stream=True) as stream:
            async for chunk in stream:
                if chunk.choices[0].delta.tool_calls:
                    return str(chunk.choices[0].delta.tool_calls[0].function.name)
    return ""


@pytest.mark.parametrize("streamed", [True, False])
async def test_one_call_at_a_time(edge: Edge, streamed: bool) -> None:
    edge.router.script = edge.says(f"{CALL_1}\n{CALL_2}")
    fields = {"tools": [ADD], "parallel_tool_calls": False}
    if streamed:
        calls = list((await ask_streamed(edge, **fields))[0]["calls"].values())
        assert [json.loads(call[2])["a"] for call in calls] == [1]
    else:
        calls = (await ask(edge, **fields)).message.tool_calls
        assert [json.loads(call.function.arguments)["a"] for call in calls] == [1]


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("choice", "finish_reason"),
    [("required", "tool_calls"), ({"type": "function", "function": {"name": "add"}}, "stop")],
)
async def test_a_demanded_call_is_a_structured_one(
    edge: Edge, choice: Any, finish_reason: str, streamed: bool
) -> None:
    edge.router.script = edge.says(CALL_1)
    fields = {"tools": [ADD], "tool_choice": choice}
    if streamed:
        message = (await ask_streamed(edge, **fields))[0]
        assert (message["finish_reason"], message["calls"][0][1]) == (finish_reason, "add")
    else:
        made = await ask(edge, **fields)
        assert (made.finish_reason, made.message.tool_calls[0].function.name) == (finish_reason, "add")
        assert made.message.content is None
    structured = edge.router.jobs[0].request.sampling.structured
    assert structured.kind is StructuredKind.STRUCTURAL_TAG
    assert "<tool_call>" in structured.value


@pytest.mark.parametrize("streamed", [True, False])
async def test_tools_that_are_not_called(edge: Edge, streamed: bool) -> None:
    edge.router.script = edge.says("I know: 3 < 4 <tool")
    if streamed:
        message = (await ask_streamed(edge, tools=[ADD]))[0]
        assert (message["content"], message["finish_reason"]) == ("I know: 3 < 4 <tool", "stop")
    else:
        choice = await ask(edge, tools=[ADD])
        assert (choice.message.content, choice.finish_reason) == ("I know: 3 < 4 <tool", "stop")
        assert choice.message.tool_calls is None
    assert edge.router.jobs[0].request.sampling.structured is None


async def test_calls_are_only_looked_for_where_they_may_be(edge: Edge) -> None:
    """The marks are special tokens of this model, which plain text does not show."""
    edge.router.script = edge.says(CALL_1)
    for fields in ({}, {"tools": [ADD], "tool_choice": "none"}):
        choice = await ask(edge, **fields)
        assert choice.message.content == CALL_1.removeprefix("<tool_call>").removesuffix("</tool_call>")
        assert (choice.message.tool_calls, choice.finish_reason) == (None, "stop")


async def test_a_stop_string_ends_a_call_s_text(edge: Edge) -> None:
    edge.router.script = edge.says("One. Two.")
    assert (await ask(edge, tools=[ADD], stop=["."])).message.content == "One"
    assert (await ask_streamed(edge, tools=[ADD], stop=["."]))[0]["content"] == "One"


async def test_choices_with_calls_have_readers_of_their_own(edge: Edge) -> None:
    edge.router.script = edge.says(CALL_1)
    _, chunks = await ask_streamed(edge, tools=[ADD], n=2)
    ends = [c for chunk in chunks for c in chunk.choices if c.finish_reason]
    assert [(end.index, end.finish_reason) for end in ends] == [(0, "tool_calls"), (1, "tool_calls")]


@pytest.mark.parametrize("streamed", [True, False])
async def test_reasoning(thinking_edge: Edge, streamed: bool) -> None:
    text = f"<think>Hm, add?</think>Let me.\n{CALL_1}"
    thinking_edge.router.script = thinking_edge.says(text)
    if streamed:
        message = (await ask_streamed(thinking_edge, tools=[ADD]))[0]
        assert (message["reasoning"], message["content"].strip()) == ("Hm, add?", "Let me.")
        assert message["calls"][0][1] == "add"
    else:
        message = (await ask(thinking_edge, tools=[ADD])).message
        assert message.model_extra["reasoning_content"] == message.model_extra["reasoning"] == "Hm, add?"
        assert message.content.strip() == "Let me."
        assert message.tool_calls[0].function.name == "add"


async def test_reasoning_that_nobody_wants_to_see(thinking_edge: Edge) -> None:
    thinking_edge.router.script = thinking_edge.says("<think>Hm.</think>Yes.")
    message, chunks = await ask_streamed(
        thinking_edge, extra_body={"include_reasoning": False, "return_token_ids": True}
    )
    assert (message["reasoning"], message["content"]) == ("", "Yes.")
    assert not any("token_ids" in (c.choices[0].model_extra or {}) for c in chunks)


@pytest.mark.parametrize(
    ("tool_call_parser", "reasoning_parser"), [("herms", ""), ("", "nobody"), ("", "deepseek_r1")]
)
def test_a_parser_that_cannot_be(tool_call_parser: str, reasoning_parser: str) -> None:
    """The last is one whose marks the demo model's tokenizer does not have."""
    with pytest.raises(BadSetting, match="parser"):
        load_parsing(DEMO, tool_call_parser, reasoning_parser)
