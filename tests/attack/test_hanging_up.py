"""Callers that leave before the first token: the request counts, and the prompt once a worker has it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from pdmesh.inference.v1 import inference_pb2, inference_pb2_grpc
from pdmesh.router.v1 import router_pb2
from services.common.domain import EmbeddingModel
from services.common.errors import DeadlinePassed, RetriesExhausted
from services.common.rpc.embedding import model_to_wire
from tests.attack.accounts import PROMPT_TOKENS, REQUESTS, SLACK, TOKENS, charged, until_idle
from tests.wire.accounting.conftest import Limited, limited
from tests.wire.gateway.conftest import close_clients, model_directory
from tests.wire.gateway.fake_router import MODEL, Job
from tests.wire.gateway.keyed import eventually
from tests.wire.gateway.raw_http import RawClient, post

__all__ = ["close_clients", "model_directory"]

PROMPT = [7] * PROMPT_TOKENS
POOLING = router_pb2.Model(
    name="vectors", max_model_len=400, prefill_workers=1, embedding_model=model_to_wire(EmbeddingModel(4))
)


@pytest.fixture
async def it(model_directory: Path, tmp_path: Path) -> AsyncIterator[Limited]:
    """A gateway whose router leaves requests in its queue, unless the test says otherwise."""
    limits = {"tokens_per_minute": TOKENS, "requests_per_minute": REQUESTS}
    settings = {"models": [POOLING, MODEL], "idempotency_linger_ms": 0}
    async with limited(model_directory, tmp_path, **limits, settings=settings) as running:
        running.edge.router.script = waits
        yield running


def waits(job: Job) -> None:
    """It stays in the queue."""


def runs(job: Job) -> None:
    """A worker has the prompt; as with a real router, that is told only with the first token or the end."""
    job.is_placed = True


async def hang_up(it: Limited, count: int = 1, **fields: object) -> None:
    """Ask, and leave as soon as the router has it all."""
    client = await it.keys.begin(it.edge.port, **{"prompt": PROMPT, **fields})
    await it.edge.router.job(count)
    await client.close()
    await eventually(lambda: all(job.is_cancelled for job in it.edge.router.jobs))


async def test_in_the_queue_the_request_counts_and_the_prompt_does_not(it: Limited) -> None:
    await hang_up(it)
    paid = await charged(it)
    assert paid.requests == 1
    assert paid.tokens <= 0
    assert paid.rows == []


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"headers": ["idempotency-key: k"]}])
async def test_once_a_worker_has_it_the_prompt_counts_and_is_booked(
    it: Limited, fields: dict[str, object]
) -> None:
    it.edge.router.script = runs
    await hang_up(it, **fields)
    paid = await charged(it)
    assert paid.requests == 1
    assert PROMPT_TOKENS - SLACK < paid.tokens <= PROMPT_TOKENS
    assert paid.rows == [(1, PROMPT_TOKENS, 0)]


async def test_a_prompt_that_was_placed_and_waits_again_counts(it: Limited) -> None:
    """After a worker failed it, the router's receipt still names it."""
    it.edge.router.script = lambda job: job.place()
    await hang_up(it)
    assert (await charged(it)).rows == [(1, PROMPT_TOKENS, 0)]


async def test_of_several_choices_the_prompt_counts_once(it: Limited) -> None:
    it.edge.router.script = runs
    await hang_up(it, n=3)
    assert (await charged(it)).rows == [(1, PROMPT_TOKENS, 0)]


async def test_of_several_prompts_those_count_that_a_worker_had(it: Limited) -> None:
    it.edge.router.script = lambda job: runs(job) if len(job.request.prompt) == 70 else waits(job)
    await hang_up(it, count=3, prompt=[[1] * 70, [2] * 90, [3] * 110])
    assert (await charged(it)).rows == [(1, 70, 0)]


async def test_other_choices_that_are_cancelled_in_mid_answer_count(it: Limited) -> None:
    def begins(job: Job) -> None:
        job.place()
        job.send([7, 8])

    it.edge.router.script = begins
    await hang_up(it, count=2, n=2, stream=True)
    ((requests, prompt, generated),) = (await charged(it)).rows
    assert (requests, prompt) == (1, PROMPT_TOKENS)
    assert generated in (2, 4)  # those of the second choice may have come or not


@pytest.mark.parametrize("error", [DeadlinePassed("late"), RetriesExhausted("no")])
async def test_a_call_that_fails_after_its_placement_counts(it: Limited, error: Exception) -> None:
    def fails(job: Job) -> None:
        job.place()
        job.end(error=error)

    it.edge.router.script = fails
    assert (await it.ask(prompt=PROMPT)).status >= 500
    paid = await charged(it)
    assert (paid.requests, paid.rows) == (1, [(1, PROMPT_TOKENS, 0)])


async def test_a_deadline_that_passes_in_the_queue_costs_the_request(it: Limited) -> None:
    it.edge.router.script = lambda job: job.end(error=DeadlinePassed("late"))
    assert (await it.ask(prompt=PROMPT)).status == 504
    paid = await charged(it)
    assert (paid.requests, paid.rows) == (1, [])
    assert paid.tokens <= 0


async def test_a_cancelled_grpc_call_counts_likewise(it: Limited) -> None:
    it.edge.router.script = runs
    async with grpc.aio.insecure_channel(it.edge.grpc) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        ids = inference_pb2.CompleteRequest(model="tiny", prompt="a b c d")
        call = stub.Complete(ids, metadata=(("authorization", f"Bearer {it.keys.acme}"),))
        job = await it.edge.router.job()
        call.cancel()
        await eventually(lambda: job.is_cancelled)
    ((requests, prompt, generated),) = (await charged(it)).rows
    assert (requests, prompt, generated) == (1, len(job.request.prompt), 0)


async def test_vectors_that_nobody_waits_for_count(it: Limited) -> None:
    it.edge.router.script = lambda job: job.place() if len(job.request.prompt) > 50 else None
    client = await RawClient.connect(it.edge.port)
    body = json.dumps({"model": "vectors", "input": [[1] * 60, [2] * 40]}).encode()
    client.send(post("/v1/embeddings", body, f"authorization: Bearer {it.keys.acme}"))
    await it.edge.router.job(2)
    await client.close()
    await eventually(lambda: all(job.is_cancelled for job in it.edge.router.jobs))
    assert (await charged(it)).rows == [(1, 60, 0)]


async def test_a_tenants_limit_holds_however_often_it_hangs_up(it: Limited) -> None:
    """The attack: ask, leave, ask again. Prompts beyond the limit are refused."""
    it.edge.router.script = runs
    statuses = []
    for _ in range(REQUESTS - 2):
        client = await it.keys.begin(it.edge.port, prompt=PROMPT, max_tokens=1)
        jobs = len(it.edge.router.jobs)
        asked = asyncio.ensure_future(it.edge.router.job(jobs + 1))
        answered = asyncio.ensure_future(client.response())
        await asyncio.wait([asked, answered], return_when=asyncio.FIRST_COMPLETED)
        statuses.append((await answered).status if answered.done() else 0)
        asked.cancel()
        answered.cancel()
        await client.close()
        await until_idle(it)
    admitted = len(it.edge.router.jobs) * PROMPT_TOKENS
    assert admitted <= TOKENS + PROMPT_TOKENS
    assert 429 in statuses
    ((_, prompt_tokens, _),) = await charged_rows(it)
    assert prompt_tokens == admitted


async def charged_rows(it: Limited) -> list[tuple[int, int, int]]:
    """The report alone, for a tenant that has nothing left to ask with."""
    rows = await it.keys.rows(it.edge.port)
    return [(row["requests"], row["prompt_tokens"], row["generated_tokens"]) for row in rows]
