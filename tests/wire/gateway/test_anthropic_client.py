"""The official Anthropic client against the gateway, unchanged but for its base URL."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from pdmesh.router.v1 import router_pb2
from pdmesh.types.v1 import types_pb2
from services.common.errors import QueueFull, RetriesExhausted
from services.gateway.rest.anthropic.clear_tool_uses import STANDS_IN
from tests.wire.gateway.conftest import Edge, running_edge
from tests.wire.gateway.fake_router import Job

TEXT = 'The sun sets in Köln, 東京 and Москва 😀😀 — "quoted\\" \n\t done.'
HELLO = [{"role": "user", "content": "Hello"}]
LENGTH = types_pb2.FINISH_REASON_LENGTH


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=edge.url, api_key="none", max_retries=0) as made:
        yield made


def prompt_of(edge: Edge, *turns: tuple[str, str], goes_on: str = "<|im_start|>assistant\n") -> list[int]:
    said = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)
    return edge.ids(said + goes_on)


async def test_a_message(edge: Edge, client: anthropic.AsyncAnthropic) -> None:
    edge.router.script = edge.says(TEXT)
    answer = await client.messages.create(model="tiny", max_tokens=99, messages=HELLO)
    assert [(block.type, block.text) for block in answer.content] == [("text", TEXT)]
    assert (answer.type, answer.role, answer.model) == ("message", "assistant", "tiny")
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    prompt = prompt_of(edge, ("user", "Hello"))
    request = edge.router.jobs[0].request
    assert (list(request.prompt), request.sampling.max_tokens) == (prompt, 99)
    usage = answer.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (len(prompt) - 3, 3)
    assert usage.output_tokens == len(edge.ids(TEXT))


@pytest.mark.parametrize("per_frame", [1, 3])
async def test_streamed(edge: Edge, client: anthropic.AsyncAnthropic, per_frame: int) -> None:
    edge.router.script = edge.says(TEXT, per_frame=per_frame, reason=LENGTH)
    kinds = []
    async with client.messages.stream(model="tiny", max_tokens=99, messages=HELLO) as stream:
        async for event in stream:
            kinds.append(event.type)
        answer = await stream.get_final_message()
    wire = [kind for kind in kinds if kind not in ("text", "content_block_delta")]
    assert wire == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert "".join(block.text for block in answer.content) == TEXT
    assert answer.stop_reason == "max_tokens"
    assert (answer.usage.cache_read_input_tokens, answer.usage.output_tokens) == (3, len(edge.ids(TEXT)))


async def test_a_conversation(edge: Edge, client: anthropic.AsyncAnthropic) -> None:
    edge.router.script = edge.says("fine")
    messages: Any = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": ""},
                {"type": "text", "text": "let me see"},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "sky"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "blue"}]},
                {"type": "text", "text": "well?"},
            ],
        },
    ]
    system = [
        {"type": "text", "text": "x-anthropic-billing-header: 123"},
        {"type": "text", "text": "Be brief."},
    ]
    await client.messages.create(model="tiny", max_tokens=9, messages=messages, system=system)
    assert list(edge.router.jobs[0].request.prompt) == prompt_of(
        edge,
        ("system", "Be brief."),
        ("user", "a\nb"),
        ("assistant", "let me see"),
        ("tool", "blue"),
        ("user", "well?"),
    )


async def test_it_goes_on_in_the_assistants_last_words(edge: Edge, client: anthropic.AsyncAnthropic) -> None:
    edge.router.script = edge.says("C")
    messages = [*HELLO, {"role": "assistant", "content": "The answer is ("}]
    await client.messages.create(model="tiny", max_tokens=9, messages=messages)
    expected = prompt_of(edge, ("user", "Hello"), goes_on="<|im_start|>assistant\nThe answer is (")
    assert list(edge.router.jobs[0].request.prompt) == expected


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stop_sequence(edge: Edge, client: anthropic.AsyncAnthropic, stream: bool) -> None:
    edge.router.script = edge.says("one two END three")
    asked: Any = {"model": "tiny", "max_tokens": 99, "messages": HELLO, "stop_sequences": ["END"]}
    if stream:
        async with client.messages.stream(**asked) as events:
            answer = await events.get_final_message()
    else:
        answer = await client.messages.create(**asked)
    assert answer.content[0].text == "one two "
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "END")


async def test_what_a_body_says_is_what_runs(edge: Edge, client: anthropic.AsyncAnthropic) -> None:
    edge.router.script = edge.says("fine")
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    await client.messages.create(
        model="tiny",
        max_tokens=9,
        messages=HELLO,
        metadata={"user_id": "someone"},
        output_config={"format": {"type": "json_schema", "schema": schema}},
        extra_body={"temperature": 0.5, "top_p": 0.9, "top_k": 7},
    )
    request = edge.router.jobs[0].request
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.9, 7)
    assert sampling.structured is not None
    assert request.session_key == "someone"


USES = "clear_tool_uses_20250919"
EDITS: Any = {
    "edits": [
        {"type": "clear_thinking_20251015", "keep": "all"},
        {
            "type": USES,
            "trigger": {"type": "tool_uses", "value": 1},
            "keep": {"type": "tool_uses", "value": 1},
        },
    ]
}


def with_results(*results: str) -> Any:
    """A conversation in which a tool was used again and again."""
    messages: list[Any] = [*HELLO]
    for number, text in enumerate(results):
        use = {"type": "tool_use", "id": f"t{number}", "name": "look", "input": {}}
        content = [{"type": "tool_result", "tool_use_id": f"t{number}", "content": text}]
        messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": content}]
    return messages


@pytest.mark.parametrize("stream", [False, True])
async def test_old_results_are_cleared_and_the_answer_tells(
    edge: Edge, client: anthropic.AsyncAnthropic, stream: bool
) -> None:
    edge.router.script = edge.says("fine")
    asked: Any = {
        "model": "tiny",
        "max_tokens": 9,
        "messages": with_results("word " * 50, "new"),
        "context_management": EDITS,
        "betas": ["context-management-2025-06-27"],
    }
    if stream:
        async with client.beta.messages.stream(**asked) as events:
            answer = await events.get_final_message()
    else:
        answer = await client.beta.messages.create(**asked)
    prompt = edge.router.jobs[0].request.prompt
    expected = prompt_of(
        edge, ("user", "Hello"), ("assistant", ""), ("tool", STANDS_IN), ("assistant", ""), ("tool", "new")
    )
    assert list(prompt) == expected
    assert answer.context_management is not None
    (edit,) = answer.context_management.applied_edits
    assert (edit.type, edit.cleared_tool_uses) == (USES, 1)
    counted = await client.beta.messages.count_tokens(
        model="tiny", messages=asked["messages"], context_management=EDITS
    )
    assert counted.input_tokens == len(prompt)
    assert counted.context_management is not None
    original = counted.context_management.original_input_tokens
    assert original - len(prompt) == edit.cleared_input_tokens > 0


async def test_an_answer_without_edits_tells_that_none_was_made(
    edge: Edge, client: anthropic.AsyncAnthropic
) -> None:
    edge.router.script = edge.says("fine")
    keep: Any = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    answer = await client.beta.messages.create(
        model="tiny", max_tokens=9, messages=HELLO, context_management=keep
    )
    assert answer.context_management is not None
    assert answer.context_management.applied_edits == []
    plain = await client.beta.messages.create(model="tiny", max_tokens=9, messages=HELLO)
    assert plain.context_management is None


async def test_what_claude_code_sends(edge: Edge, client: anthropic.AsyncAnthropic) -> None:
    edge.router.script = edge.says("Hello.")
    cached = {"cache_control": {"type": "ephemeral"}}
    body = {
        "model": "tiny",
        "max_tokens": 99,
        "stream": True,
        "system": [{"type": "text", "text": "Be brief.", **cached}],
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "note"}, {"type": "text", "text": "Hello"}],
            },
            {"role": "system", "content": [{"type": "text", "text": "# Environment", **cached}]},
        ],
        "tools": [{"name": "DeferredToolPlaceholder", "input_schema": {}, "defer_loading": True}],
        "metadata": {"user_id": '{"session_id": "s"}'},
        "thinking": {"type": "adaptive", "display": "omitted"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
    }
    stream: Any = await client.post(
        "/v1/messages?beta=true",
        body=body,
        cast_to=object,
        stream=True,
        stream_cls=anthropic.AsyncStream[anthropic.types.RawMessageStreamEvent],
    )
    kinds = [event.type async for event in stream]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    expected = prompt_of(edge, ("system", "Be brief."), ("user", "note\nHello"), ("system", "# Environment"))
    assert list(edge.router.jobs[0].request.prompt) == expected


async def test_tokens_are_counted(edge: Edge, client: anthropic.AsyncAnthropic) -> None:
    counted = await client.messages.count_tokens(model="tiny", messages=HELLO, system="Be brief.")
    assert counted.input_tokens == len(prompt_of(edge, ("system", "Be brief."), ("user", "Hello")))
    assert edge.router.jobs == []


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"stop_sequences": [""]}, "stop_sequences[0]"),
        ({"metadata": {"user_id": "x" * 300}}, "metadata.user_id"),
        ({"temperature": -1}, "temperature"),
        ({"thinking": {"type": "sometimes"}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": -1}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "adaptive", "budget_tokens": 9}}, "thinking.budget_tokens"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"output_config": {"effort": "some"}}, "output_config.effort"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "", "input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [{"name": "f", "input_schema": {}}]}, "tools"),
        ({"mcp_servers": [{"name": "x"}]}, "mcp_servers"),
        ({"context_management": {"edits": [{"type": "shorten"}]}}, "context_management.edits[0].type"),
        ({"context_management": {"edits": "all"}}, "context_management.edits"),
    ],
)
async def test_a_bad_field_is_named(
    edge: Edge, client: anthropic.AsyncAnthropic, fields: dict[str, Any], name: str
) -> None:
    body = {"model": "tiny", "max_tokens": 9, "messages": HELLO, **fields}
    with pytest.raises(anthropic.BadRequestError) as caught:
        await client.post("/v1/messages", body=body, cast_to=object)
    error = caught.value.body["error"]
    assert (caught.value.body["type"], error["type"]) == ("error", "invalid_request_error")
    assert error["param"] == name
    assert error["message"].startswith(name)
    assert edge.router.jobs == []


async def test_a_budget_of_thinking_reaches_workers_that_keep_one(model_directory: Path) -> None:
    keeps = router_pb2.Model(
        name="tiny", max_model_len=400, prefill_workers=1, decode_workers=1, limits_thinking=True
    )
    async with (
        running_edge(model_directory, models=[keeps]) as edge,
        anthropic.AsyncAnthropic(base_url=edge.url, api_key="none", max_retries=0) as client,
    ):
        edge.router.script = edge.says("Hello")
        enabled = {"type": "enabled", "budget_tokens": 1024}
        await client.messages.create(model="tiny", max_tokens=9, messages=HELLO, thinking=enabled)
        assert edge.router.jobs[0].request.sampling.thinking_tokens_max == 1024
        counted = await client.messages.count_tokens(model="tiny", messages=HELLO, thinking=enabled)
        assert counted.input_tokens > 0


async def test_max_tokens_is_required(client: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        await client.post("/v1/messages", body={"model": "tiny", "messages": HELLO}, cast_to=object)


async def test_errors_have_the_clients_own_classes(edge: Edge, client: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        await client.messages.create(model="other", max_tokens=9, messages=HELLO)
    edge.router.script = lambda job: job.end(error=QueueFull("full", retry_after_ms=250))
    with pytest.raises(anthropic.InternalServerError) as caught:
        await client.messages.create(model="tiny", max_tokens=9, messages=HELLO)
    assert (caught.value.status_code, caught.value.body["error"]["type"]) == (503, "overloaded_error")
    assert caught.value.response.headers["retry-after"] == "1"


async def test_a_stream_that_breaks_raises(edge: Edge, client: anthropic.AsyncAnthropic) -> None:
    def breaks(job: Job) -> None:
        job.place()
        job.send(edge.ids("half an answer"))
        job.end(error=RetriesExhausted("workers failed"))

    edge.router.script = breaks
    texts = []

    async def read() -> None:
        async with client.messages.stream(model="tiny", max_tokens=9, messages=HELLO) as stream:
            async for text in stream.text_stream:
                texts.append(text)

    with pytest.raises(anthropic.APIStatusError, match="workers failed"):
        await read()
    assert "".join(texts) == "half an answer"


async def test_a_retry_with_a_key_gets_the_same_message(edge: Edge, client: anthropic.AsyncAnthropic) -> None:
    edge.router.script = edge.says(TEXT)
    headers = {"idempotency-key": "k"}
    asked: Any = {"model": "tiny", "max_tokens": 99, "messages": HELLO, "extra_headers": headers}
    first = await client.messages.create(**asked)
    assert await client.messages.create(**asked) == first
    assert len(edge.router.jobs) == 1
    with pytest.raises(anthropic.ConflictError) as caught:
        await client.messages.create(**{**asked, "max_tokens": 98})
    assert caught.value.body["type"] == "error"
