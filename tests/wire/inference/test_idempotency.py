"""Idempotency keys over gRPC: the same key and request get the same answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from pdmesh.client import AsyncClient, CallOptions, Sampling
from services.common.errors import IdempotencyKeyReused, InvalidField, MeshError, QueueFull
from services.gateway.settings import Settings
from tests.redis_server import running_redis
from tests.wire.gateway.conftest import Edge, announced_gateway, become_ready
from tests.wire.gateway.fake_router import FakeRouter, running_router

KEYED = CallOptions(idempotency_key="k1")


async def test_a_finished_answer_is_given_again(edge: Edge, mesh: AsyncClient) -> None:
    edge.router.script = edge.says("Hello there.")
    first = await mesh.chat("tiny", "Hi", options=KEYED).whole()
    named = CallOptions(idempotency_key="k1", request_id="another")
    second = await mesh.chat("tiny", "Hi", options=named).whole()
    assert (first.text, len(edge.router.jobs)) == ("Hello there.", 1)
    assert second == first


async def test_a_running_answer_is_joined_from_its_start(edge: Edge, mesh: AsyncClient) -> None:
    reading = [asyncio.create_task(mesh.chat("tiny", "Hi", options=KEYED).whole())]
    job = await edge.router.job()
    job.send(edge.ids("Hello"))
    reading.append(asyncio.create_task(mesh.chat("tiny", "Hi", options=KEYED).whole()))
    await asyncio.sleep(0.05)
    job.send(edge.ids(" there."))
    job.end()
    assert [answer.text for answer in await asyncio.gather(*reading)] == ["Hello there."] * 2
    assert len(edge.router.jobs) == 1


async def test_one_whose_client_left_waits_for_its_return(edge: Edge, mesh: AsyncClient) -> None:
    async with mesh.chat("tiny", "Hi", options=KEYED) as stream:
        reading = asyncio.create_task(anext(stream))
        job = await edge.router.job()
        job.send(edge.ids("Hello"))
        await reading
    job.send(edge.ids(" there."))
    job.end()
    assert (await mesh.chat("tiny", "Hi", options=KEYED).whole()).text == "Hello there."
    assert not job.is_cancelled


@pytest.mark.parametrize("key", ["k1", "x" * 10_000])
async def test_another_request_and_too_long_a_key_are_refused(
    edge: Edge, mesh: AsyncClient, key: str
) -> None:
    edge.router.script = edge.says("Hello.")
    await mesh.chat("tiny", "Hi", options=KEYED).whole()
    with pytest.raises((IdempotencyKeyReused, InvalidField)):
        await mesh.chat("tiny", "Bye", options=CallOptions(idempotency_key=key)).whole()


async def test_errors_are_told_and_not_kept(edge: Edge, mesh: AsyncClient) -> None:
    edge.router.script = lambda job: job.end(error=MeshError("broken"))
    with pytest.raises(MeshError, match="broken"):
        await mesh.chat("tiny", "Hi", options=KEYED).whole()
    with pytest.raises(InvalidField, match="temperature"):
        await mesh.chat("tiny", "Hi", Sampling(temperature=9.0), options=KEYED).whole()
    edge.router.script = edge.says("Hello.")
    assert (await mesh.chat("tiny", "Hi", options=KEYED).whole()).text == "Hello."


async def test_a_refusal_still_says_when_to_come_again(edge: Edge, mesh: AsyncClient) -> None:
    answers = [lambda job: job.end(error=QueueFull(retry_after_ms=30)), edge.says("Hello.")]
    edge.router.script = lambda job: answers.pop(0)(job)
    assert (await mesh.chat("tiny", "Hi", options=KEYED).whole()).text == "Hello."
    assert answers == []


async def test_another_gateway_follows_a_running_answer(model_directory: Path) -> None:
    router = FakeRouter()
    tokenizer = Tokenizer.from_file(str(model_directory / "tokenizer.json"))
    with running_redis() as store:
        async with running_router(router) as port, two(model_directory, port, store) as (one, other):
            reading = [asyncio.create_task(one.chat("tiny", "Hi", options=KEYED).whole())]
            job = await router.job()
            job.send(tokenizer.encode("Hello", add_special_tokens=False).ids)
            reading.append(asyncio.create_task(other.chat("tiny", "Hi", options=KEYED).whole()))
            await asyncio.sleep(0.2)
            job.send(tokenizer.encode(" there.", add_special_tokens=False).ids)
            job.end()
            assert [answer.text for answer in await asyncio.gather(*reading)] == ["Hello there."] * 2
    assert len(router.jobs) == 1


@asynccontextmanager
async def two(directory: Path, port: int, store: str) -> AsyncIterator[list[AsyncClient]]:
    """Clients of two gateways that share a Redis, both ready."""
    settings = Settings(
        port=0, model=str(directory), router=(f"127.0.0.1:{port}",), store=store, grace_ms=200
    )
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(2):
            facts, _ = await stack.enter_async_context(announced_gateway(settings))
            await become_ready(int(facts["url"].rsplit(":", 1)[1]))
            clients.append(await stack.enter_async_context(AsyncClient(facts["grpc"])))
        yield clients


async def test_a_follower_that_leaves_does_not_keep_others_from_the_answer(model_directory: Path) -> None:
    router = FakeRouter()
    tokenizer = Tokenizer.from_file(str(model_directory / "tokenizer.json"))
    with running_redis() as store:
        async with running_router(router) as port, two(model_directory, port, store) as (one, other):
            first = asyncio.create_task(one.chat("tiny", "Hi", options=KEYED).whole())
            job = await router.job()
            job.send(tokenizer.encode("Hello", add_special_tokens=False).ids)
            async with other.chat("tiny", "Hi", options=KEYED) as leaving:
                assert (await anext(leaving)).text
            job.send(tokenizer.encode(" there.", add_special_tokens=False).ids)
            job.end()
            again = asyncio.create_task(other.chat("tiny", "Hi", options=KEYED).whole())
            async with asyncio.timeout(20):
                assert [answer.text for answer in await asyncio.gather(first, again)] == ["Hello there."] * 2
    assert len(router.jobs) == 1
