"""What each call of the gRPC API does."""

import asyncio
from collections.abc import Callable

import grpc
import grpc.aio
import pytest

from pdmesh.client import AsyncClient, CallOptions, Message, Sampling, ServiceClass
from pdmesh.inference.v1 import inference_pb2
from pdmesh.inference.v1.inference_pb2_grpc import InferenceServiceStub
from pdmesh.types.v1 import types_pb2
from services.common.domain import Path
from services.common.errors import (
    BodyTooLarge,
    InvalidField,
    MeshError,
    ModelNotFound,
    PromptTooLong,
    QueueFull,
)
from tests.wire.gateway.conftest import Edge
from tests.wire.gateway.fake_router import Job


async def eventually(check: Callable[[], bool]) -> None:
    while not check():
        await asyncio.sleep(0.005)


async def test_chat_streams_text_tokens_and_the_summary(edge: Edge, mesh: AsyncClient) -> None:
    edge.router.script = edge.says("Hello there.")
    stream = mesh.chat("tiny", "Hi")
    assert "".join([delta.text async for delta in stream]) == "Hello there."
    answer = stream.answer
    assert answer.choices[0].token_ids == edge.ids("Hello there.")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens == len(edge.router.jobs[0].request.prompt)
    assert (answer.usage.completion_tokens, answer.usage.cached_tokens) == (len(edge.ids("Hello there.")), 3)
    (receipt,) = answer.receipts
    assert (receipt.path, receipt.decode_worker) == (Path.DISAGGREGATED, "decode-1")


async def test_the_prompt_is_the_one_that_rest_renders(edge: Edge, mesh: AsyncClient) -> None:
    edge.router.script = edge.says("x")
    messages = [Message("system", "Be brief."), Message("user", "Hi")]
    await mesh.chat("tiny", messages).whole()
    assert list(edge.router.jobs[0].request.prompt) == await mesh.tokenize("tiny", messages)


async def test_complete_goes_on_from_text(edge: Edge, mesh: AsyncClient) -> None:
    edge.router.script = edge.says(" time")
    assert (await mesh.complete("tiny", "Once upon a").whole()).text == " time"
    request = edge.router.jobs[0].request
    assert list(request.prompt) == await mesh.tokenize("tiny", "Once upon a")
    assert request.sampling.max_tokens == 16


async def test_generate_takes_and_gives_tokens(edge: Edge, mesh: AsyncClient) -> None:
    edge.router.script = edge.says_ids([7, 8, 9])
    answer = await mesh.generate("tiny", [5, 6]).whole()
    assert (answer.choices[0].token_ids, answer.text) == ([7, 8, 9], "")
    request = edge.router.jobs[0].request
    assert list(request.prompt) == [5, 6]
    assert request.sampling.max_tokens == 400 - 2


async def test_sampling_and_options_reach_the_router(edge: Edge, mesh: AsyncClient) -> None:
    edge.router.script = edge.says("x")
    sampling = Sampling(
        max_tokens=5, min_tokens=2, temperature=0.5, top_p=0.9, top_k=4, min_p=0.1, presence_penalty=0.2,
        frequency_penalty=0.3, repetition_penalty=1.1, seed=11, stop_token_ids=(3,), ignore_eos=True,
        logit_bias={4: 1.5},
    )  # fmt: skip
    options = CallOptions(
        request_id="my-request", session_key="talk", service_class=ServiceClass.BATCH, priority=-2,
        strict_disaggregation=True,
    )  # fmt: skip
    await mesh.chat("tiny", "Hi", sampling, options=options, timeout_s=20.0).whole()
    request = edge.router.jobs[0].request
    got = request.sampling
    assert (got.max_tokens, got.min_tokens, got.temperature, got.top_p, got.top_k) == (5, 2, 0.5, 0.9, 4)
    assert (got.min_p, got.presence_penalty, got.frequency_penalty) == (0.1, 0.2, 0.3)
    assert (got.repetition_penalty, got.seed, got.stop_token_ids, got.ignore_eos) == (1.1, 11, (3,), True)
    assert dict(got.logit_bias) == {4: 1.5}
    assert (request.request_id, request.session_key, request.priority) == ("my-request", "talk", -2)
    assert request.service_class is ServiceClass.BATCH
    assert request.strict_disaggregation
    assert request.deadline_ms is not None
    assert 15_000 < request.deadline_ms <= 21_000  # gRPC sends timeouts rounded up


async def test_a_call_without_deadline_has_none(edge: Edge, mesh: AsyncClient) -> None:
    edge.router.script = edge.says("x")
    await mesh.chat("tiny", "Hi").whole()
    assert edge.router.jobs[0].request.deadline_ms is None


async def test_a_stop_string_ends_the_answer(edge: Edge, mesh: AsyncClient) -> None:
    edge.router.script = edge.says("Fine. User: more")
    answer = await mesh.chat("tiny", "Hi", Sampling(stop=(" User:",))).whole()
    assert (answer.text, answer.choices[0].finish_reason) == ("Fine.", "stop")


async def test_several_choices_come_on_one_stream(edge: Edge, mesh: AsyncClient) -> None:
    def script(job: Job) -> None:
        job.place()
        job.send(edge.ids(f"answer {len(edge.router.jobs)}"))
        job.end()

    edge.router.script = script
    answer = await mesh.chat("tiny", "Hi", Sampling(n=2)).whole()
    assert [choice.text for choice in answer.choices] == ["answer 1", "answer 2"]
    assert len(answer.receipts) == 2


async def test_metadata_says_where_it_runs_and_brings_the_receipt(
    edge: Edge, stub: InferenceServiceStub
) -> None:
    edge.router.script = edge.says("x")
    call = stub.Chat(
        inference_pb2.ChatRequest(
            model="tiny",
            messages=[{"role": "user", "content": "Hi"}],
            options={"request_id": "mine"},
        )
    )
    messages = [message async for message in call]
    head, tail = dict(await call.initial_metadata()), dict(await call.trailing_metadata())
    assert (head["x-request-id"], head["x-pdmesh-path"]) == ("mine", "disaggregated")
    assert head["x-pdmesh-decode-worker"] == "decode-1"
    receipt = types_pb2.Receipt.FromString(tail["pdmesh-receipt-bin"])
    assert receipt == messages[-1].summary.receipts[0]
    assert (tail["pdmesh-path-reason"], tail["pdmesh-request-id"]) == ("long_prompt", "mine")


async def test_each_frame_is_one_message(edge: Edge, stub: InferenceServiceStub) -> None:
    call = stub.Generate(inference_pb2.GenerateRequest(model="tiny", prompt_token_ids=[5]))
    reading = aiter(call)
    job = await edge.router.job()
    job.send([7])
    assert list((await anext(reading)).deltas[0].token_ids) == [7]
    job.send([8])
    job.send([9])
    assert list((await anext(reading)).deltas[0].token_ids) == [8, 9]
    job.end()
    last = await anext(reading)
    assert last.HasField("summary")
    assert [message async for message in reading] == []


async def test_models_and_tokens(edge: Edge, mesh: AsyncClient) -> None:
    assert await mesh.models() == {"tiny": 400}
    ids = await mesh.tokenize("tiny", "Grüße 🦜")
    assert await mesh.detokenize("tiny", ids) == "Grüße 🦜"
    with pytest.raises(ModelNotFound):
        await mesh.tokenize("none", "x")
    with pytest.raises(InvalidField):
        await mesh.detokenize("tiny", [10**6])


@pytest.mark.parametrize(
    ("sampling", "field"),
    [
        (Sampling(temperature=9.0), "temperature"),
        (Sampling(top_p=0.0), "top_p"),
        (Sampling(stop=("",)), "stop[0]"),
        (Sampling(logit_bias={10**6: 1.0}), "logit_bias"),
        (Sampling(max_tokens=399), "max_tokens"),
    ],
)
async def test_what_is_wrong_is_named(edge: Edge, mesh: AsyncClient, sampling: Sampling, field: str) -> None:
    with pytest.raises((InvalidField, PromptTooLong)) as caught:
        await mesh.chat("tiny", "Hi", sampling).whole()
    assert caught.value.field == field
    assert edge.router.jobs == []


@pytest.mark.parametrize(
    "options", [CallOptions(request_id="with space"), CallOptions(session_key="x" * 300)]
)
async def test_names_are_bounded(mesh: AsyncClient, options: CallOptions) -> None:
    with pytest.raises(InvalidField):
        await mesh.chat("tiny", "Hi", options=options).whole()


async def test_no_messages_and_no_model_are_refused(mesh: AsyncClient) -> None:
    with pytest.raises(InvalidField, match="messages"):
        await mesh.chat("tiny", []).whole()
    with pytest.raises(ModelNotFound):
        await mesh.chat("nobody", "Hi").whole()
    with pytest.raises(InvalidField, match="prompt"):
        await mesh.generate("tiny", []).whole()


async def test_a_refusal_says_when_to_come_again(edge: Edge, stub: InferenceServiceStub) -> None:
    edge.router.script = lambda job: job.end(error=QueueFull("full", retry_after_ms=1_500))
    call = stub.Generate(inference_pb2.GenerateRequest(model="tiny", prompt_token_ids=[5]))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    assert b"google.rpc.RetryInfo" in details
    assert b"queue_full" in details


async def test_an_error_in_mid_stream_comes_after_what_there_was(
    edge: Edge, stub: InferenceServiceStub
) -> None:
    def script(job: Job) -> None:
        job.send([7])
        job.end(error=MeshError("broken"))

    edge.router.script = script
    call = stub.Generate(inference_pb2.GenerateRequest(model="tiny", prompt_token_ids=[5]))
    assert list((await call.read()).deltas[0].token_ids) == [7]
    with pytest.raises(grpc.aio.AioRpcError, match="broken"):
        await call.read()


async def test_too_large_a_message_is_refused(edge: Edge, mesh: AsyncClient) -> None:
    with pytest.raises(BodyTooLarge):
        await mesh.complete("tiny", "x" * (9 * 1024 * 1024)).whole()
    edge.router.script = edge.says("x")
    assert (await mesh.complete("tiny", "y").whole()).text == "x"


async def test_a_client_that_leaves_frees_its_worker(edge: Edge, mesh: AsyncClient) -> None:
    async with mesh.chat("tiny", "Hi") as stream:
        job = await asyncio.wait_for(first_job(edge, stream), 5)
    await eventually(lambda: job.is_cancelled)


async def first_job(edge: Edge, stream: object) -> Job:
    reading = asyncio.create_task(anext(stream))  # type: ignore[call-overload]
    job = await edge.router.job()
    job.send(edge.ids("x"))
    await reading
    return job


async def test_a_deadline_frees_the_worker(edge: Edge, mesh: AsyncClient) -> None:
    await mesh.models()  # connected
    with pytest.raises(MeshError, match=r"(?i)deadline"):
        await mesh.chat("tiny", "Hi", timeout_s=1.0).whole()
    await eventually(lambda: edge.router.jobs[0].is_cancelled)
