"""Several choices and prompts, echoes, details of tokens, classes and names, through the official client."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from services.common.domain import ServiceClass, StructuredKind, TokenLogprobs
from services.common.domain.logprobs import logprobs
from services.common.domain.tokens import tokens
from services.common.errors import RetriesExhausted
from services.common.limits import DEFAULTS
from tests.wire.gateway.conftest import Edge, running_edge
from tests.wire.gateway.fake_router import Job

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def says_its_number(edge: Edge) -> None:
    """Every stream answers with its place among all."""

    def script(job: Job) -> None:
        job.place()
        job.send(edge.ids(f"number {len(edge.router.jobs)}"))
        job.end()

    edge.router.script = script


async def test_choices_share_their_prompt(edge: Edge, client: openai.AsyncOpenAI) -> None:
    says_its_number(edge)
    answer = await client.chat.completions.create(model="tiny", messages=HELLO, n=3, seed=7)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [choice.message.content for choice in answer.choices] == ["number 1", "number 2", "number 3"]
    requests = [job.request for job in edge.router.jobs]
    assert len({tuple(request.prompt) for request in requests}) == 1
    assert len({request.request_id for request in requests}) == 3
    assert len({request.session_key for request in requests}) == 1
    assert requests[0].session_key
    assert [request.sampling.seed for request in requests] == [7, 8, 9]
    assert answer.usage.prompt_tokens == len(requests[0].prompt)
    assert answer.usage.completion_tokens == sum(len(job.sent) for job in edge.router.jobs)
    assert answer.usage.prompt_tokens_details.cached_tokens == 3


async def test_other_choices_wait_for_the_first_one_s_prefill(edge: Edge, client: openai.AsyncOpenAI) -> None:
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(await_stream(client, n=2))
        first = await edge.router.job(1)
        await client.models.list()
        assert len(edge.router.jobs) == 1
        first.send(edge.ids("a"))
        second = await edge.router.job(2)
        second.send(edge.ids("b"))
        second.end()
        first.end()
        made = [chunk async for chunk in await asked]
    assert text_of(made, 0) == "a"
    assert text_of(made, 1) == "b"


def await_stream(client: openai.AsyncOpenAI, **fields: object):
    return client.chat.completions.create(model="tiny", messages=HELLO, stream=True, **fields)


def text_of(chunks: list, index: int) -> str:
    deltas = [c.delta.content or "" for chunk in chunks for c in chunk.choices if c.index == index]
    return "".join(deltas)


async def test_streamed_choices_each_have_a_role_and_an_end(edge: Edge, client: openai.AsyncOpenAI) -> None:
    says_its_number(edge)
    stream = await await_stream(client, n=3, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert [c.choices[0].delta.role for c in chunks[:3]] == ["assistant"] * 3
    for index in range(3):
        own = [c for chunk in chunks for c in chunk.choices if c.index == index]
        assert text_of(chunks, index) == f"number {index + 1}"
        assert [c.finish_reason for c in own][-1] == "stop"
        assert sum(c.finish_reason is not None for c in own) == 1
    assert chunks[-1].usage.completion_tokens == sum(len(job.sent) for job in edge.router.jobs)
    assert chunks[-1].usage.prompt_tokens == len(edge.router.jobs[0].request.prompt)


async def test_an_answer_fails_with_its_first_choice_that_fails(
    edge: Edge, client: openai.AsyncOpenAI
) -> None:
    def script(job: Job) -> None:
        job.send(edge.ids("x"))
        if len(edge.router.jobs) == 2:
            job.end(error=RetriesExhausted("workers failed too often"))

    edge.router.script = script
    with pytest.raises(openai.InternalServerError, match="too often"):
        await client.chat.completions.create(model="tiny", messages=HELLO, n=2)
    first = edge.router.jobs[0]
    while not first.is_cancelled:
        await client.models.list()


async def test_several_prompts(edge: Edge, client: openai.AsyncOpenAI) -> None:
    says_its_number(edge)
    answer = await client.completions.create(model="tiny", prompt=["Once", "Twice"], n=2, max_tokens=5)
    prompts = [list(job.request.prompt) for job in edge.router.jobs]
    assert sorted(prompts) == sorted([edge.ids("Once"), edge.ids("Twice")] * 2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.usage.prompt_tokens == len(edge.ids("Once")) + len(edge.ids("Twice"))


@pytest.mark.parametrize("prompt", ["Once upon", "ids"])
async def test_echo(edge: Edge, client: openai.AsyncOpenAI, prompt: str) -> None:
    edge.router.script = edge.says(" a time")
    given = edge.ids("Once upon") if prompt == "ids" else prompt
    answer = await client.completions.create(model="tiny", prompt=given, echo=True)
    assert answer.choices[0].text == "Once upon a time"
    stream = await client.completions.create(model="tiny", prompt=given, echo=True, stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "Once upon a time"


def script_with_logprobs(edge: Edge) -> None:
    """Answers "a" and half a character, each with two likely tokens."""
    ids = [*edge.ids("a"), edge.ids("京")[0]]

    def script(job: Job) -> None:
        job.place()
        for token_id in ids:
            top_ids = tokens([token_id, edge.ids("b")[0]])
            described = TokenLogprobs(2, logprobs([-0.5]), top_ids, logprobs([-0.5, float("-inf")]))
            job.send([token_id], described if job.request.sampling.logprobs is not None else None)
        job.end()

    edge.router.script = script


@pytest.mark.parametrize("streamed", [True, False])
async def test_logprobs_of_a_chat(edge: Edge, client: openai.AsyncOpenAI, streamed: bool) -> None:
    script_with_logprobs(edge)
    asked = {"model": "tiny", "messages": HELLO, "logprobs": True, "top_logprobs": 2}
    if streamed:
        stream = await client.chat.completions.create(**asked, stream=True)
        chunks = [chunk async for chunk in stream]
        content = [
            token
            for chunk in chunks
            for choice in chunk.choices
            for token in (choice.logprobs.content if choice.logprobs else [])
        ]
    else:
        content = (await client.chat.completions.create(**asked)).choices[0].logprobs.content
    assert edge.router.jobs[0].request.sampling.logprobs == 2
    assert [(token.token, token.logprob) for token in content] == [("a", -0.5), ("�", -0.5)]
    assert bytes(content[0].bytes) == b"a"
    assert "京".encode().startswith(bytes(content[1].bytes))
    assert [(top.token, top.logprob) for top in content[0].top_logprobs] == [("a", -0.5), ("b", -9999.0)]


async def test_logprobs_of_a_completion(edge: Edge, client: openai.AsyncOpenAI) -> None:
    script_with_logprobs(edge)
    answer = await client.completions.create(model="tiny", prompt="x", logprobs=2)
    found = answer.choices[0].logprobs
    assert found.tokens == ["a", "�"]
    assert found.token_logprobs == [-0.5, -0.5]
    assert found.text_offset == [0, 1]
    assert found.top_logprobs[0] == {"a": -0.5, "b": -9999.0}


async def test_without_asking_there_are_no_logprobs(edge: Edge, client: openai.AsyncOpenAI) -> None:
    script_with_logprobs(edge)
    answer = await client.chat.completions.create(model="tiny", messages=HELLO)
    assert answer.choices[0].logprobs is None
    assert edge.router.jobs[0].request.sampling.logprobs is None


async def test_token_ids(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("yes or no", per_frame=2)
    extra = {"return_token_ids": True}
    answer = await client.chat.completions.create(model="tiny", messages=HELLO, extra_body=extra)
    prompt = list(edge.router.jobs[0].request.prompt)
    assert answer.model_extra["prompt_token_ids"] == prompt
    assert answer.choices[0].model_extra["token_ids"] == edge.ids("yes or no")
    stream = await await_stream(client, extra_body=extra)
    chunks = [chunk async for chunk in stream]
    assert chunks[0].model_extra["prompt_token_ids"] == prompt
    ids = [i for c in chunks for i in (c.choices[0].model_extra or {}).get("token_ids", [])]
    assert ids == edge.ids("yes or no")
    completion = await client.completions.create(model="tiny", prompt=["a", "b"], extra_body=extra)
    assert [c.model_extra["prompt_token_ids"] for c in completion.choices] == [edge.ids("a"), edge.ids("b")]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_prompt_s_token_ids_come_beside_logprobs_too(
    edge: Edge, client: openai.AsyncOpenAI, stream: bool
) -> None:
    script_with_logprobs(edge)
    asked: Any = {"model": "tiny", "prompt": "a", "logprobs": 1, "extra_body": {"return_token_ids": True}}
    told: Any = await client.completions.create(**asked, stream=stream)
    choices = [chunk.choices[0] async for chunk in told if chunk.choices] if stream else told.choices
    assert choices[0].model_extra["prompt_token_ids"] == edge.ids("a")
    assert ["prompt_token_ids" in choice.model_extra for choice in choices[1:]].count(True) == 0


async def test_usage_in_every_event(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("one two three", per_frame=2)
    options = {"include_usage": True, "continuous_usage_stats": True}
    stream = await await_stream(client, stream_options=options)
    counts = [chunk.usage.completion_tokens async for chunk in stream]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-1] == len(edge.ids("one two three"))


async def test_a_stop_string_is_named(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("one, two")
    answer = await client.chat.completions.create(model="tiny", messages=HELLO, stop=[","])
    assert answer.choices[0].message.content == "one"
    assert answer.choices[0].model_extra["stop_reason"] == ","
    await client.chat.completions.create(model="tiny", messages=HELLO)


async def test_a_stop_token_is_not_shown(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("one,")
    stop = edge.ids(",")
    for shown, expected in ((False, "one"), (True, "one,")):
        extra = {"stop_token_ids": stop, "include_stop_str_in_output": shown}
        answer = await client.completions.create(model="tiny", prompt="x", extra_body=extra)
        assert answer.choices[0].text == expected


async def test_special_tokens_are_shown_on_demand(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says_ids([*edge.ids("a"), *edge.ids("<|im_start|>"), *edge.ids("<|im_end|>")])
    extra = {"skip_special_tokens": False}
    answer = await client.completions.create(model="tiny", prompt="x", extra_body=extra)
    assert answer.choices[0].text == "a<|im_start|>"
    assert (await client.completions.create(model="tiny", prompt="x")).choices[0].text == "a"


async def test_who_and_when_reach_the_router(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("x")
    create = client.chat.completions.create
    await create(model="tiny", messages=HELLO, service_tier="flex", user="u", extra_body={"priority": -3})
    await create(
        model="tiny",
        messages=HELLO,
        extra_headers={"x-pdmesh-session": "s", "x-pdmesh-deadline-ms": "2000"},
        extra_body={"pdmesh": {"deadline_ms": 3000, "service_class": "interactive"}},
    )
    await create(model="tiny", messages=HELLO)
    flex, urgent, plain = (job.request for job in edge.router.jobs)
    assert (flex.service_class, flex.session_key, flex.priority) == (ServiceClass.BATCH, "u", -3)
    assert (urgent.service_class, urgent.session_key) == (ServiceClass.INTERACTIVE, "s")
    assert 0 < urgent.deadline_ms <= 2000
    assert (plain.service_class, plain.session_key, plain.deadline_ms) == (ServiceClass.STANDARD, "", None)


async def test_the_tier_is_told_to_who_asks(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("x")
    answer = await client.chat.completions.create(model="tiny", messages=HELLO, service_tier="flex")
    assert answer.service_tier == "flex"


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({"x-pdmesh-deadline-ms": "0"}, "x-pdmesh-deadline-ms"),
        ({"x-pdmesh-deadline-ms": "soon"}, "x-pdmesh-deadline-ms"),
        ({"x-pdmesh-session": "s" * 257}, "x-pdmesh-session"),
    ],
)
async def test_bad_headers_are_named(client: openai.AsyncOpenAI, headers: dict[str, str], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="tiny", messages=HELLO, extra_headers=headers)
    assert caught.value.param == param


async def test_words_and_structure_reach_the_router(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("x")
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    await client.chat.completions.create(
        model="tiny",
        messages=HELLO,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": schema, "strict": True},
        },
        extra_body={"bad_words": ["time"], "allowed_token_ids": [4, 5]},
    )
    sampling = edge.router.jobs[0].request.sampling
    assert tuple(edge.ids("time")) in sampling.bad_words
    assert sampling.allowed_token_ids == (4, 5)
    assert sampling.structured.kind is StructuredKind.JSON_SCHEMA
    assert json.loads(sampling.structured.value) == schema


async def test_an_answer_goes_on_in_the_last_message(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("x")
    messages = [*HELLO, {"role": "assistant", "content": "Once upon "}]
    await client.chat.completions.create(
        model="tiny",
        messages=messages,
        extra_body={"continue_final_message": True, "add_generation_prompt": False},
    )
    await client.chat.completions.create(
        model="tiny", messages=HELLO, extra_body={"add_generation_prompt": False}
    )
    first, second = (list(job.request.prompt) for job in edge.router.jobs)
    begin = "<|im_start|>user\nHello<|im_end|>\n"
    assert first == edge.ids(begin + "<|im_start|>assistant\nOnce upon ")
    assert second == edge.ids(begin)


async def test_tools_need_a_parser(client: openai.AsyncOpenAI) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    with pytest.raises(openai.BadRequestError, match="--tool-call-parser") as caught:
        await client.chat.completions.create(model="tiny", messages=HELLO, tools=[tool])
    assert caught.value.param == "tools"


async def test_tools_that_are_not_to_be_called_need_none(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("x")
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    await client.chat.completions.create(model="tiny", messages=HELLO, tools=[tool], tool_choice="none")


async def test_an_answer_that_outgrows_what_is_kept_of_it(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused after all and its worker freed; as a stream it may be of any size."""
    limits = dataclasses.replace(DEFAULTS, answer_size_bytes_max=1_000)
    monkeypatch.setattr("services.gateway.main.DEFAULTS", limits)
    async with (
        running_edge(model_directory, grace_ms=200) as edge,
        openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="none", max_retries=0) as client,
    ):
        edge.router.script = lambda job: job.send(edge.ids("many words " * 200))
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="tiny", messages=HELLO)
        assert caught.value.code == "answer_too_large"
        while not edge.router.jobs[0].is_cancelled:
            await client.models.list()
        edge.router.script = edge.says("many words " * 200)
        chunks = [chunk async for chunk in await await_stream(client)]
        assert text_of(chunks, 0) == "many words " * 200


async def test_the_seed_after_the_highest_is_the_lowest(edge: Edge, client: openai.AsyncOpenAI) -> None:
    says_its_number(edge)
    answer = await client.chat.completions.create(model="tiny", messages=HELLO, n=2, seed=2**63 - 1)
    assert [choice.message.content for choice in answer.choices] == ["number 1", "number 2"]
    assert [job.request.sampling.seed for job in edge.router.jobs] == [2**63 - 1, -(2**63)]
