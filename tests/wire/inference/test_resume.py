"""A stream that broke goes on at another gateway, and nobody could tell from its text."""

import asyncio
from array import array
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from pdmesh.client import AsyncClient, RetryPolicy, Sampling
from pdmesh.client.errors import error_of
from pdmesh.inference.v1 import answer_pb2, inference_pb2
from pdmesh.inference.v1.inference_pb2_grpc import InferenceServiceStub
from services.common.errors import InvalidField
from tests.wire.gateway.conftest import Edge, running_edge
from tests.wire.gateway.fake_router import Job

TEXT = "Grüße 🦜👩‍👩‍👧 and a long goodbye."
STOP = "goodbye"


async def asked(
    stub: InferenceServiceStub, delivered: dict[int, list[int]], **sampling: Any
) -> tuple[dict[int, str], inference_pb2.ChatResponse]:
    """Text by choice, and the last message."""
    request = inference_pb2.ChatRequest(
        model="tiny", messages=[{"role": "user", "content": "Hi"}], sampling=sampling
    )
    for index, ids in delivered.items():
        request.delivered.add(index=index, token_ids=ids)
    texts: dict[int, str] = {}
    message = inference_pb2.ChatResponse()
    async for message in stub.Chat(request):
        for delta in message.deltas:
            texts[delta.index] = texts.get(delta.index, "") + delta.text
    return texts, message


def goes_on(edge: Edge, ids: list[int]) -> None:
    """The router answers with what is missing of `ids`, one token per frame."""

    def script(job: Job) -> None:
        job.place()
        assert list(job.request.delivered) == ids[: len(job.request.delivered)]
        for token in ids[len(job.request.delivered) :]:
            job.send([token])
        job.end()

    edge.router.script = script


@pytest.mark.parametrize("stops", [(), (STOP,)])
async def test_every_cut_gives_the_same_text(
    edge: Edge, stub: InferenceServiceStub, stops: tuple[str, ...]
) -> None:
    """Cuts fall inside characters, and inside the stop text."""
    ids = edge.ids(TEXT)
    whole = TEXT if not stops else TEXT[: TEXT.index(STOP)]
    for cut in range(len(ids) + 1):
        goes_on(edge, ids)
        came = await text_before(edge, stub, ids[:cut], stops)
        after, last = await asked(stub, {0: ids[:cut]}, stop=stops)
        assert came + after.get(0, "") == whole, cut
        assert last.summary.usage.completion_tokens <= len(ids)


async def text_before(edge: Edge, stub: InferenceServiceStub, ids: list[int], stops: tuple[str, ...]) -> str:
    """What a client has of a stream that breaks after these tokens: no end flushes what is held back."""
    if not ids:
        return ""
    number = len(edge.router.jobs) + 1
    script, edge.router.script = edge.router.script, lambda _: None
    request = inference_pb2.ChatRequest(
        model="tiny", messages=[{"role": "user", "content": "Hi"}], sampling={"stop": stops}
    )
    call = stub.Chat(request)
    job = await edge.router.job(number)
    text = ""
    for token in ids:
        job.send([token])
        message = await call.read()
        text += "".join(delta.text for delta in message.deltas)
        if job.is_cancelled:
            break
    call.cancel()
    edge.router.script = script
    return text


async def test_what_was_delivered_counts(edge: Edge, stub: InferenceServiceStub) -> None:
    ids = edge.ids(TEXT)
    goes_on(edge, ids)
    _, last = await asked(stub, {0: ids[:5]}, max_tokens=100)
    assert last.summary.usage.completion_tokens == len(ids)
    request = edge.router.jobs[0].request
    assert (request.delivered, request.sampling.max_tokens) == (array("I", ids[:5]), 100)


async def test_a_whole_answer_needs_no_router(edge: Edge, stub: InferenceServiceStub) -> None:
    """Only the word of its end was lost with the first gateway."""
    ids = edge.ids(TEXT)
    ended = [*ids, *edge.ids("<|im_end|>")]
    for delivered, sampling, reason in (
        (ended, {}, answer_pb2.FINISH_REASON_STOP),
        (ids, {"max_tokens": len(ids)}, answer_pb2.FINISH_REASON_LENGTH),
        (ids, {"stop": [STOP]}, answer_pb2.FINISH_REASON_STOP),
    ):
        _, last = await asked(stub, {0: delivered}, **sampling)
        assert last.summary.usage.completion_tokens > 0
        assert last.deltas[0].finish_reason == reason
    assert edge.router.jobs == []


async def test_of_two_choices_only_the_unfinished_one_runs(edge: Edge, stub: InferenceServiceStub) -> None:
    ids = edge.ids(TEXT)
    goes_on(edge, ids)
    ended = [*ids, *edge.ids("<|im_end|>")]
    texts, last = await asked(stub, {0: ended, 1: ids[:3]}, n=2)
    assert texts.get(0, "") == ""
    assert TEXT.endswith(texts[1])
    assert len(edge.router.jobs) == 1
    assert len(last.summary.receipts) == 2


@pytest.mark.parametrize("delivered", [{1: [5]}, {0: [10**6]}])
async def test_delivered_tokens_are_checked(
    edge: Edge, stub: InferenceServiceStub, delivered: dict[int, list[int]]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asked(stub, delivered)
    error = error_of(caught.value)
    assert (type(error), error.field) == (InvalidField, "delivered")
    assert edge.router.jobs == []


async def test_the_client_goes_on_at_the_next_gateway(edge: Edge, model_directory: Path) -> None:
    """The first one stops in mid-stream, in the middle of a character."""
    async with running_edge(model_directory, grace_ms=0) as first:
        ids = edge.ids(TEXT)
        goes_on(edge, ids)
        async with AsyncClient([first.grpc, edge.grpc], retries=RetryPolicy(backoff_ms=1.0)) as mesh:
            stream = mesh.chat("tiny", "Hi", Sampling(max_tokens=60))
            reading = asyncio.create_task(stream.whole())
            job = await first.router.job()
            for token in ids[:8]:
                job.send([token])
            while not stream.choices:
                await asyncio.sleep(0.005)
            first.stop.set()
            answer = await reading
    assert answer.text == TEXT
    assert answer.choices[0].token_ids == ids
    assert 0 < len(edge.router.jobs[0].request.delivered) <= 8
