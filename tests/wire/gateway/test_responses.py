"""The Responses API, with the official OpenAI client."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from pdmesh.types.v1 import types_pb2
from services.common.errors import RetriesExhausted
from tests.wire.gateway.conftest import Edge
from tests.wire.gateway.fake_router import Job

TEXT = 'The sun sets in Köln, 東京 and Москва 😀😀 — "quoted\\" \n\t done.'
LENGTH = types_pb2.FINISH_REASON_LENGTH


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def prompt_of(edge: Edge, *turns: tuple[str, str]) -> list[int]:
    said = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)
    return edge.ids(said + "<|im_start|>assistant\n")


async def test_a_response(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says(TEXT)
    answer = await client.responses.create(
        model="tiny", input="Hello", instructions="Be brief.", max_output_tokens=99, store=True
    )
    assert (answer.output_text, answer.status, answer.model) == (TEXT, "completed", "tiny")
    assert (answer.object, answer.error, answer.incomplete_details) == ("response", None, None)
    request = edge.router.jobs[0].request
    prompt = prompt_of(edge, ("system", "Be brief."), ("user", "Hello"))
    assert (list(request.prompt), request.sampling.max_tokens) == (prompt, 99)
    assert answer.usage is not None
    usage = answer.usage
    assert (usage.input_tokens, usage.input_tokens_details.cached_tokens) == (len(prompt), 3)
    assert usage.total_tokens == len(prompt) + len(edge.ids(TEXT))


@pytest.mark.parametrize("per_frame", [1, 3])
async def test_streamed(edge: Edge, client: openai.AsyncOpenAI, per_frame: int) -> None:
    edge.router.script = edge.says(TEXT, per_frame=per_frame)
    stream = await client.responses.create(model="tiny", input="Hello", stream=True)
    events = [event async for event in stream]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == TEXT
    assert [event.type for event in events if event.type != "response.output_text.delta"] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last: Any = events[-1]
    assert last.response.output_text == TEXT
    assert last.response.usage.output_tokens == len(edge.ids(TEXT))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_cut(edge: Edge, client: openai.AsyncOpenAI, stream: bool) -> None:
    edge.router.script = edge.says(TEXT, reason=LENGTH)
    answer: Any = await client.responses.create(model="tiny", input="Hello", stream=stream)
    if stream:
        answer = [event async for event in answer][-1].response
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert answer.output[0].status == "incomplete"


async def test_the_sdk_s_own_accumulator_agrees(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says(TEXT)
    async with client.responses.stream(model="tiny", input="Hello") as stream:
        answer = await stream.get_final_response()
    assert answer.output_text == TEXT


async def test_a_conversation(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("fine")
    items: Any = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {
            "type": "reasoning",
            "id": "r",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "hm"}],
        },
        {
            "type": "message",
            "role": "assistant",
            "id": "m",
            "status": "completed",
            "content": [{"type": "output_text", "text": "let me see", "annotations": []}],
        },
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "blue"},
        {"role": "user", "content": "well?"},
    ]
    await client.responses.create(model="tiny", input=items)
    assert list(edge.router.jobs[0].request.prompt) == prompt_of(
        edge,
        ("system", "Be brief."),
        ("user", "a"),
        ("assistant", "let me see"),
        ("tool", "blue"),
        ("user", "well?"),
    )


async def test_an_answer_may_have_a_shape(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says('{"a": 1}')
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    shape: Any = {"format": {"type": "json_schema", "name": "a", "schema": schema, "strict": True}}
    await client.responses.create(model="tiny", input="Hello", text=shape)
    structured = edge.router.jobs[0].request.sampling.structured
    assert structured is not None
    assert '"integer"' in structured.value


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"truncation": "all"}, "truncation"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 100_000}, "max_output_tokens"),
        ({"max_tokens": 4}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"temperature": 9}, "temperature"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name"),
        ({"input": "long " * 500}, "input"),
        ({"reasoning": {"effort": "some"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"tools": [{"type": "websearch"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": ""}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": "f"}]}, "tools"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        ({"top_logprobs": 21}, "top_logprobs"),
    ],
)
async def test_a_bad_field_is_named(
    edge: Edge, client: openai.AsyncOpenAI, fields: dict[str, Any], name: str
) -> None:
    body = {"model": "tiny", "input": "Hello", **fields}
    with pytest.raises(openai.BadRequestError) as caught:
        await client.post("/responses", body=body, cast_to=object)
    assert caught.value.param == name
    assert edge.router.jobs == []


async def test_a_stream_that_breaks_has_failed(edge: Edge, client: openai.AsyncOpenAI) -> None:
    def breaks(job: Job) -> None:
        job.place()
        job.send(edge.ids("half an answer"))
        job.end(error=RetriesExhausted("workers failed"))

    edge.router.script = breaks
    stream = await client.responses.create(model="tiny", input="Hello", stream=True)
    last: Any = [event async for event in stream][-1]
    assert (last.type, last.response.status) == ("response.failed", "failed")
    assert last.response.error.message == "workers failed"


async def test_the_oldest_messages_go_where_the_prompt_is_too_long(
    edge: Edge, client: openai.AsyncOpenAI
) -> None:
    edge.router.script = edge.says("fine")
    items: Any = [
        {"role": "user", "content": "long " * 500},
        {"role": "assistant", "content": "I see."},
        {"role": "user", "content": "well?"},
    ]
    answer = await client.responses.create(
        model="tiny", input=items, truncation="auto", instructions="Be brief."
    )
    assert list(edge.router.jobs[0].request.prompt) == prompt_of(
        edge, ("system", "Be brief."), ("assistant", "I see."), ("user", "well?")
    )
    assert answer.truncation == "auto"


async def test_what_codex_sends(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("Hello.")
    body: Any = {
        "model": "tiny",
        "stream": True,
        "input": [
            {
                "type": "message",
                "role": "developer",
                "content": [{"type": "input_text", "text": "Be brief."}],
            },
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        ],
        "tools": [{"type": "web_search", "external_web_access": False}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "k",
        "client_metadata": {"session_id": "s"},
    }
    stream: Any = await client.post(
        "/responses",
        body=body,
        cast_to=object,
        stream=True,
        stream_cls=openai.AsyncStream[openai.types.responses.ResponseStreamEvent],
    )
    last = [event async for event in stream][-1]
    assert (last.type, last.response.output_text) == ("response.completed", "Hello.")
    assert (last.response.tools, last.response.store) == ([], False)
    request = edge.router.jobs[0].request
    assert list(request.prompt) == prompt_of(edge, ("system", "Be brief."), ("user", "Hello"))
    assert request.session_key == "k"
