"""The official OpenAI client against the gateway, unchanged but for its base URL."""

from collections.abc import AsyncIterator

import openai
import pytest

from pdmesh.types.v1 import types_pb2
from services.common.errors import PathUnavailable, QueueFull, RetriesExhausted
from tests.wire.gateway.conftest import Edge
from tests.wire.gateway.fake_router import Job

TEXT = 'The sun sets in Köln, 東京 and Москва 😀😀 — "quoted\\" \n\t done.'
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="none", max_retries=0) as made:
        yield made


async def test_chat(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says(TEXT)
    answer = await client.chat.completions.create(model="tiny", messages=HELLO)
    choice = answer.choices[0]
    assert (choice.message.content, choice.message.role, choice.finish_reason) == (TEXT, "assistant", "stop")
    assert answer.usage is not None
    prompt = edge.ids("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
    assert list(edge.router.jobs[0].request.prompt) == prompt
    assert answer.usage.prompt_tokens == len(prompt)
    assert answer.usage.completion_tokens == len(edge.ids(TEXT))
    assert answer.usage.total_tokens == len(prompt) + len(edge.ids(TEXT))
    assert answer.model == "tiny"
    assert answer.object == "chat.completion"
    assert edge.router.jobs[0].request.sampling.max_tokens == 400 - len(prompt)


@pytest.mark.parametrize("per_frame", [1, 3])
async def test_chat_streamed(edge: Edge, client: openai.AsyncOpenAI, per_frame: int) -> None:
    edge.router.script = edge.says(TEXT, per_frame=per_frame)
    stream = await client.chat.completions.create(
        model="tiny", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == TEXT
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert all(c.usage is None for c in chunks[:-1])
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len(edge.ids(TEXT))
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens == 3
    assert len({c.id for c in chunks}) == 1


async def test_completion(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says(TEXT, reason=types_pb2.FINISH_REASON_LENGTH)
    for prompt in ("Once", ["Once"], edge.ids("Once"), [edge.ids("Once")]):
        answer = await client.completions.create(model="tiny", prompt=prompt, max_tokens=7)
        assert (answer.choices[0].text, answer.choices[0].finish_reason) == (TEXT, "length")
        request = edge.router.jobs[-1].request
        assert (list(request.prompt), request.sampling.max_tokens) == (edge.ids("Once"), 7)
    await client.completions.create(model="tiny", prompt="Once")
    assert edge.router.jobs[-1].request.sampling.max_tokens == 16


async def test_completion_streamed(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says(TEXT)
    stream = await client.completions.create(model="tiny", prompt="Once", stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].text for c in chunks) == TEXT
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_models(edge: Edge, client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["tiny"]
    assert (await client.models.retrieve("tiny")).id == "tiny"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("other/model")


async def test_sampling_parameters_arrive(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("x")
    await client.chat.completions.create(
        model="tiny",
        messages=HELLO,
        max_completion_tokens=9,
        temperature=0.5,
        top_p=0.25,
        presence_penalty=1.0,
        frequency_penalty=-1.0,
        seed=-7,
        logit_bias={"5": 2},
        user="someone",
        extra_body={
            "top_k": 4,
            "min_p": 0.125,
            "repetition_penalty": 1.5,
            "min_tokens": 2,
            "ignore_eos": True,
            "stop_token_ids": [9],
            "unknown_field": {"a": 1},
        },
    )
    sampling = edge.router.jobs[0].request.sampling
    assert sampling.max_tokens == 9
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0.5, 0.25, 4, 0.125)
    assert (sampling.presence_penalty, sampling.frequency_penalty, sampling.repetition_penalty) == (
        1,
        -1,
        1.5,
    )
    assert (sampling.seed, sampling.logit_bias, sampling.min_tokens) == (-7, {5: 2.0}, 2)
    assert (sampling.ignore_eos, sampling.stop_token_ids) == (True, (9,))


async def test_headers_and_receipt(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("yes")
    raw = await client.chat.completions.with_raw_response.create(
        model="tiny", messages=HELLO, extra_headers={"x-request-id": "mine-1", "x-pdmesh-receipt": "1"}
    )
    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.headers["x-pdmesh-path"] == "disaggregated"
    assert raw.headers["x-pdmesh-path-reason"] == "long_prompt"
    assert raw.headers["x-pdmesh-prefill-worker"] == "prefill-1"
    assert raw.headers["x-pdmesh-decode-worker"] == "decode-1"
    assert float(raw.headers["openai-processing-ms"]) >= 0
    answer = raw.parse()
    receipt = answer.model_extra["pdmesh"]
    assert receipt["path"] == "disaggregated"
    assert receipt["kv_size_bytes"] == 4096
    assert receipt["request_id"] == "mine-1"
    assert edge.router.jobs[0].request.request_id == "mine-1"
    assert answer.id == "chatcmpl-mine-1"


async def test_the_receipt_of_a_stream_comes_with_its_last_event(
    edge: Edge, client: openai.AsyncOpenAI
) -> None:
    edge.router.script = edge.says("yes")
    for options in ({"include_usage": True}, {}):
        stream = await client.chat.completions.create(
            model="tiny",
            messages=HELLO,
            stream=True,
            stream_options=options,
            extra_body={"pdmesh": {"receipt": True}},
        )
        chunks = [chunk async for chunk in stream]
        assert chunks[-1].model_extra["pdmesh"]["queue_ms"] == 1.25
        assert not any("pdmesh" in (chunk.model_extra or {}) for chunk in chunks[:-1])


async def test_without_asking_there_is_no_receipt(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("yes")
    answer = await client.chat.completions.create(model="tiny", messages=HELLO)
    assert "pdmesh" not in (answer.model_extra or {})


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_refusal_is_an_http_error(edge: Edge, client: openai.AsyncOpenAI, streamed: bool) -> None:
    edge.router.script = lambda job: job.end(error=QueueFull("the queue is full", retry_after_ms=250))
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(model="tiny", messages=HELLO, stream=streamed)
    assert caught.value.status_code == 503
    assert caught.value.code == "queue_full"
    assert caught.value.response.headers["retry-after"] == "1"
    assert caught.value.response.headers["retry-after-ms"] == "250"


async def test_strict_disaggregation(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = lambda job: job.end(error=PathUnavailable("no prefill worker"))
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(
            model="tiny", messages=HELLO, extra_headers={"x-pdmesh-path": "disaggregated"}
        )
    assert caught.value.code == "path_unavailable"
    assert edge.router.jobs[0].request.strict_disaggregation


async def test_a_stream_that_breaks_says_so(edge: Edge, client: openai.AsyncOpenAI) -> None:
    def script(job: Job) -> None:
        job.send(edge.ids("partial"))
        job.end(error=RetriesExhausted("workers failed too often"))

    edge.router.script = script
    stream = await client.chat.completions.create(model="tiny", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match="too often"):
        [chunk async for chunk in stream]
