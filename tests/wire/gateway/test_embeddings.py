"""Vectors through the official client and over a bare connection, from a scripted router."""

import asyncio
import base64
import dataclasses
import json
from array import array
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from pdmesh.router.v1 import router_pb2
from services.common.domain import EmbeddingModel, Request
from services.common.domain.embedding import vector
from services.common.errors import RetriesExhausted
from services.common.limits import DEFAULTS
from services.common.rpc.embedding import model_to_wire
from tests.wire.gateway.conftest import Edge, become_ready, running_edge
from tests.wire.gateway.fake_router import MODEL, Job
from tests.wire.gateway.raw_http import RawClient, RawResponse, post
from tests.wire.gateway.test_streaming import eventually

LIMITS = dataclasses.replace(
    DEFAULTS, inputs_per_request_max=20, inputs_in_flight_max=4, answer_size_bytes_max=3_000
)
GIVES = EmbeddingModel(8, may_cut=True, cuts=(2, 4))
POOLING = router_pb2.Model(
    name="vectors", max_model_len=40, prefill_workers=1, embedding_model=model_to_wire(GIVES)
)


def vector_of(request: Request) -> "array[float]":
    """What the scripted router answers: the prompt's length, then 1/3 as often as needed."""
    assert request.embedding is not None
    size = request.embedding.dimensions or GIVES.dimensions
    return vector([float(len(request.prompt)), *[1 / 3] * (size - 1)])


def embeds(job: Job) -> None:
    job.end(vector=vector_of(job.request))


@pytest.fixture
async def site(model_directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Edge]:
    """A gateway with small limits; its router serves a pooling model beside the usual one."""
    monkeypatch.setattr("services.gateway.main.DEFAULTS", LIMITS)
    settings = {"models": [MODEL, POOLING], "grace_ms": 200, "resume_wait_ms": 600_000}
    async with running_edge(model_directory, **settings) as made:
        made.router.script = embeds
        await become_ready(made.port)
        yield made


@pytest.fixture
async def client(site: Edge) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{site.url}/v1", api_key="none", max_retries=0) as made:
        yield made


async def ask(site: Edge, *headers: str, **fields: Any) -> RawResponse:
    """The answer to a bare call."""
    connection = await site.client()
    connection.send(embeddings(*headers, **fields))
    response = await connection.response()
    await connection.close()
    return response


def embeddings(*headers: str, **fields: Any) -> bytes:
    body = {"model": "vectors", **fields}
    return post("/v1/embeddings", json.dumps(body).encode(), *headers)


async def test_texts_and_tokens_one_or_many(site: Edge, client: openai.AsyncOpenAI) -> None:
    several = ["Hello", "Hello you", "H"]
    cases: list[tuple[Any, list[int]]] = [
        ("Hello", [len(site.ids("Hello"))]),
        (several, [len(site.ids(text)) for text in several]),
        ([5, 6, 7], [3]),
        ([[5, 6, 7], [8], [9, 10]], [3, 1, 2]),
    ]
    for given, lengths in cases:
        site.router.jobs.clear()
        made = await client.embeddings.create(model="vectors", input=given)
        assert [entry.index for entry in made.data] == list(range(len(lengths)))
        wanted = [vector_of(job.request).tolist() for job in site.router.jobs]
        assert [entry.embedding for entry in made.data] == wanted
        assert [entry.embedding[0] for entry in made.data] == [float(length) for length in lengths]
        assert (made.object, made.model) == ("list", "vectors")
        assert (made.usage.prompt_tokens, made.usage.total_tokens) == (sum(lengths), sum(lengths))


async def test_answers_in_any_order_come_out_in_the_order_of_the_texts(site: Edge) -> None:
    waiting: list[Job] = []

    def backwards(job: Job) -> None:
        waiting.append(job)
        if len(waiting) == 4:
            for one in reversed(waiting):
                embeds(one)
            waiting.clear()

    site.router.script = backwards
    body = json.loads((await ask(site, input=[[1] * n for n in range(1, 9)])).body)
    assert [entry["embedding"][0] for entry in body["data"]] == [float(n) for n in range(1, 9)]


async def test_numbers_are_the_router_s_in_both_encodings(site: Edge) -> None:
    plain = json.loads((await ask(site, input=[1, 2, 3])).body)["data"][0]["embedding"]
    packed = json.loads((await ask(site, input=[1, 2, 3], encoding_format="base64")).body)
    unpacked = vector()
    unpacked.frombytes(base64.b64decode(packed["data"][0]["embedding"]))
    assert plain == unpacked.tolist() == vector_of(site.router.jobs[0].request).tolist()


async def test_shorter_vectors_where_the_model_has_them(site: Edge, client: openai.AsyncOpenAI) -> None:
    made = await client.embeddings.create(model="vectors", input="Hello", dimensions=4)
    assert len(made.data[0].embedding) == 4
    assert (await client.embeddings.create(model="vectors", input="Hello", dimensions=8)).data
    for dimensions in (3, 9):
        with pytest.raises(openai.BadRequestError, match="only of 8 or 2, 4") as caught:
            await client.embeddings.create(model="vectors", input="Hello", dimensions=dimensions)
        assert caught.value.param == "dimensions"


async def test_what_cannot_be_is_refused_by_name(site: Edge) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [[1], []]}, "input[1]"),
        ({"input": ["a", [1]]}, "input[1]"),
        ({"input": [1, "a"]}, "input"),
        ({"input": [1, -1]}, "input"),
        ({"input": [[1], [10**6]]}, "input[1]"),
        ({"input": [[1], [2] * 41]}, "input[1]"),
        ({"input": "word " * 400}, "input"),
        ({"input": [[1]] * 21}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": [1.5]}, "input[0]"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": "8"}, "dimensions"),
        ({"input": "a", "truncate_prompt_tokens": 5}, "truncate_prompt_tokens"),
        ({"input": "a", "model": "tiny"}, "model"),
    ]
    for fields, param in refused:
        response = await ask(site, **fields)
        assert (response.status, json.loads(response.body)["error"]["param"]) == (400, param), fields
    assert not site.router.jobs
    assert (await ask(site, input=[2] * 40)).status == 200  # as long as the model holds


async def test_a_pooling_model_generates_nothing(site: Edge, client: openai.AsyncOpenAI) -> None:
    hello: Any = [{"role": "user", "content": "Hello"}]
    asked: list[Callable[[], Any]] = [
        lambda: client.chat.completions.create(model="vectors", messages=hello),
        lambda: client.completions.create(model="vectors", prompt="Hello"),
        lambda: client.responses.create(model="vectors", input="Hello"),
    ]
    for call in asked:
        with pytest.raises(openai.BadRequestError, match="/v1/embeddings") as caught:
            await call()
        assert caught.value.param == "model"
    with pytest.raises(openai.NotFoundError):
        await client.embeddings.create(model="other", input="Hello")


async def test_many_texts_go_a_few_at_a_time(site: Edge) -> None:
    jobs, open_at_once = site.router.jobs, []

    def later(job: Job) -> None:
        open_at_once.append(len(jobs) - ended[0])
        asyncio.get_running_loop().call_later(0.01, end, job)

    def end(job: Job) -> None:
        ended[0] += 1
        embeds(job)

    ended = [0]
    site.router.script = later
    assert (await ask(site, input=[[1]] * 20, dimensions=2)).status == 200
    assert (len(jobs), max(open_at_once)) == (20, 4)


async def test_one_text_that_fails_fails_the_call_and_ends_the_others(site: Edge) -> None:
    def third_fails(job: Job) -> None:
        if len(site.router.jobs) == 3:
            job.end(error=RetriesExhausted("workers failed"))

    site.router.script = third_fails
    response = await ask(site, input=[[1]] * 10)
    assert (response.status, json.loads(response.body)["error"]["message"]) == (502, "workers failed")
    await eventually(lambda: sum(job.is_cancelled for job in site.router.jobs) == 3)
    assert len(site.router.jobs) == 4


async def test_an_end_without_a_vector_is_a_fault_of_ours(site: Edge) -> None:
    site.router.script = lambda job: job.end()
    assert (await ask(site, input=[1])).status == 500


async def test_an_answer_that_outgrows_its_bound_is_refused(site: Edge) -> None:
    response = await ask(site, input=[[1]] * 20)
    assert (response.status, json.loads(response.body)["error"]["code"]) == (400, "answer_too_large")
    assert (await ask(site, input=[[1]] * 20, encoding_format="base64")).status == 200


async def test_a_client_that_leaves_frees_its_workers(site: Edge) -> None:
    site.router.script = lambda job: None
    connection = await site.client()
    connection.send(embeddings(input=[[1], [2]]))
    await site.router.job(2)
    await connection.close()
    await eventually(lambda: all(job.is_cancelled for job in site.router.jobs))


async def test_a_lost_router_costs_only_time(site: Edge) -> None:
    site.router.script = lambda job: None
    connection: RawClient = await site.client()
    connection.send(embeddings(input=[[1], [2, 3]]))
    await site.router.job(2)
    site.router.script = embeds
    site.router.sessions[0].link.close()
    body = json.loads((await connection.response()).body)
    assert [entry["embedding"][0] for entry in body["data"]] == [1.0, 2.0]
    assert len(site.router.jobs) == 4
    await connection.close()


async def test_a_client_that_leaves_while_no_router_is_there_leaves_nothing(site: Edge) -> None:
    site.router.script = lambda job: None
    connection: RawClient = await site.client()
    connection.send(embeddings(input=[[1], [2, 3]]))
    await site.router.job(2)
    site.router.models = []  # whoever comes back serves nothing yet, so both texts wait here
    site.router.sessions[0].link.close()
    await eventually(lambda: not site.router.sessions)
    await eventually(lambda: len(site.router.sessions) == 1)
    assert (await site.metrics())["pdmesh_gateway_open_streams"] == 2
    await connection.close()
    while (await site.metrics())["pdmesh_gateway_open_streams"]:
        pass
    assert len(site.router.jobs) == 2


async def test_what_the_request_carries(site: Edge) -> None:
    options = {"deadline_ms": 5_000, "service_class": "batch", "receipt": True}
    response = await ask(site, "x-request-id: abc", input=[[1], [2]], priority=3, pdmesh=options)
    request = site.router.jobs[1].request
    assert (request.request_id, request.priority, request.service_class.name) == ("abc-1", 3, "BATCH")
    assert 0 < (request.deadline_ms or 0) <= 5_000
    assert response.headers["x-pdmesh-prefill-worker"] == "prefill-1"
    assert len(json.loads(response.body)["pdmesh"]["choices"]) == 2


async def test_a_repeated_key_gets_the_same_answer(site: Edge) -> None:
    first = await ask(site, "idempotency-key: k", input=[1, 2])
    again = await ask(site, "idempotency-key: k", input=[1, 2])
    assert (first.status, first.body) == (200, again.body)
    assert len(site.router.jobs) == 1
    assert (await ask(site, "idempotency-key: k", input=[1, 3])).status == 409


async def test_a_salt_of_the_body_keeps_cached_prompts_apart(site: Edge, client: openai.AsyncOpenAI) -> None:
    for salt in ("a", "b", "a"):
        extra = {"cache_salt": salt, "request_id": f"of-{salt}"}
        await client.embeddings.create(model="vectors", input="hello", extra_body=extra)
    first, second, again = [job.request for job in site.router.jobs]
    assert first.cache_salt == again.cache_salt
    assert len({first.cache_salt, second.cache_salt, "", "a"}) == 4
    assert [first.request_id, second.request_id] == ["of-a", "of-b"]
