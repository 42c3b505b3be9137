"""What a stream does besides flowing: stop strings, cut characters, clients that are slow or leave."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pdmesh.types.v1 import types_pb2
from tests.wire.gateway.conftest import Edge
from tests.wire.gateway.fake_router import Job
from tests.wire.gateway.raw_http import RawClient, get, post

HI = [{"role": "user", "content": "Hi"}]


def chat(**fields: Any) -> bytes:
    body = {"model": "tiny", "messages": HI, "stream": True, **fields}
    return post("/v1/chat/completions", json.dumps(body).encode())


async def eventually(check: Callable[[], bool]) -> None:
    while not check():
        await asyncio.sleep(0.005)


async def events(client: RawClient) -> AsyncIterator[Any]:
    """The events of a stream, each chunk holding whole ones; the last is "[DONE]"."""
    async for chunk in client.chunks():
        for event in chunk.decode().removesuffix("\n\n").split("\n\n"):
            data = event.removeprefix("data: ")
            yield data if data == "[DONE]" else json.loads(data)


@asynccontextmanager
async def streaming(edge: Edge, **fields: Any) -> AsyncIterator[tuple[RawClient, Job]]:
    """A stream that has been submitted."""
    client = await edge.client()
    number = len(edge.router.jobs) + 1
    client.send(chat(**fields))
    yield client, await edge.router.job(number)
    await client.close()


def text_of(made: list[Any]) -> str:
    deltas = [event["choices"][0]["delta"] for event in made if event != "[DONE]" and event["choices"]]
    return "".join(delta.get("content", "") for delta in deltas)


async def test_an_event_is_byte_for_byte_what_clients_expect(edge: Edge) -> None:
    async with streaming(edge) as (client, job):
        job.send(edge.ids("a"))
        head = await client.head()
        assert head.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert head.headers["cache-control"] == "no-cache"
        chunks = client.chunks()
        first = await anext(chunks)
        role, delta, _ = first.split(b"\n\n")
        event = json.loads(delta.removeprefix(b"data: "))
        assert event.pop("created") > 1_700_000_000
        assert event.pop("id") == "chatcmpl-" + head.headers["x-request-id"]
        assert event == {
            "object": "chat.completion.chunk",
            "model": "tiny",
            "choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": None, "finish_reason": None}],
        }
        assert json.loads(role.removeprefix(b"data: "))["choices"][0]["delta"] == {
            "role": "assistant",
            "content": "",
        }
        job.end()
        closing = b"".join([chunk async for chunk in chunks])
        assert b'"delta":{},"logprobs":null,"finish_reason":"stop"' in closing
        assert closing.endswith(b"data: [DONE]\n\n")


async def test_each_frame_is_one_event(edge: Edge) -> None:
    async with streaming(edge) as (client, job):
        job.send(edge.ids("one "))
        await client.head()
        chunks = client.chunks()
        await anext(chunks)
        job.send(edge.ids("two "))
        job.send(edge.ids("three"))
        assert b"two three" in await anext(chunks)
        job.end()
        assert len([chunk async for chunk in chunks]) == 1


async def test_emoji_cut_into_tokens_are_never_shown_in_part(edge: Edge) -> None:
    text = "🦜👩‍👩‍👧 ok"
    async with streaming(edge) as (client, job):
        for token in edge.ids(text):
            job.send([token])
            await asyncio.sleep(0.002)
        job.end()
        await client.head()
        made = [event async for event in events(client)]
        assert text_of(made) == text
        assert "\\ufffd" not in json.dumps(made)


async def test_an_answer_of_nothing_visible_is_a_whole_stream(edge: Edge) -> None:
    async with streaming(edge) as (client, job):
        job.send(edge.ids("<|im_end|>"))
        job.end()
        await client.head()
        made = [event async for event in events(client)]
        assert text_of(made) == ""
        assert made[0]["choices"][0]["delta"]["role"] == "assistant"
        assert made[-2]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_stop_string_ends_the_answer_and_frees_the_worker(edge: Edge, streamed: bool) -> None:
    """The text comes in single characters' tokens, so that the stop string lies across many."""
    fields = {"stop": ["\nUser:", "never"], "stream_options": {"include_usage": True}} if streamed else {}
    async with streaming(edge, **{"stop": ["\nUser:"], "stream": streamed, **fields}) as (client, job):
        for token in [i for character in "Fine.\nUser:" for i in edge.ids(character)]:
            job.send([token])
            await asyncio.sleep(0.001)
        await eventually(lambda: job.is_cancelled)
        if streamed:
            await client.head()
            made = [event async for event in events(client)]
            assert text_of(made) == "Fine."
            assert made[-3]["choices"][0]["finish_reason"] == "stop"
            assert made[-2]["usage"]["completion_tokens"] == len("Fine.\nUser:")
        else:
            answer = json.loads((await client.response()).body)
            assert answer["choices"][0]["message"]["content"] == "Fine."
            assert answer["choices"][0]["finish_reason"] == "stop"


async def test_text_that_only_looked_like_a_stop_string_is_shown_at_the_end(edge: Edge) -> None:
    async with streaming(edge, stop=["STOP"]) as (client, job):
        job.send(edge.ids("a ST"))
        job.end(types_pb2.FINISH_REASON_LENGTH)
        await client.head()
        made = [event async for event in events(client)]
        assert text_of(made) == "a ST"
        assert made[-2]["choices"][0]["finish_reason"] == "length"


async def test_min_tokens_keeps_stop_strings_away(edge: Edge) -> None:
    async with streaming(edge, stop=["a"], min_tokens=3) as (client, job):
        for character in "aaaa":
            job.send(edge.ids(character))
            await asyncio.sleep(0.002)
        await eventually(lambda: job.is_cancelled)
        await client.head()
        assert text_of([event async for event in events(client)]) == "aaa"


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("has_token", [True, False])
async def test_a_client_that_leaves_frees_its_worker(edge: Edge, streamed: bool, has_token: bool) -> None:
    async with streaming(edge, stream=streamed) as (client, job):
        if has_token:
            job.send(edge.ids("x"))
        if has_token and streamed:
            await client.head()
        await client.close()
        await eventually(lambda: job.is_cancelled)
        while (await edge.metrics())["pdmesh_gateway_open_streams"]:
            await asyncio.sleep(0.005)


async def test_a_slow_client_alone_is_cut_off(narrow_edge: Edge) -> None:
    """One client does not read. It falls behind, its text piles up to the bound, and only it is cancelled."""
    slow = await narrow_edge.client(receive_buffer_bytes=4096)
    slow.send(chat(ignore_eos=True))
    slow_job = await narrow_edge.router.job(1)
    async with streaming(narrow_edge) as (client, job):
        long_text = narrow_edge.ids("ein langer Text " * 500)
        while not slow_job.is_cancelled:
            slow_job.send(long_text)
            job.send(narrow_edge.ids("x"))
            await asyncio.sleep(0.001)
        job.end()
        await client.head()
        made = [event async for event in events(client)]
        assert set(text_of(made)) == {"x"}
        assert made[-1] == "[DONE]"
    metrics = await narrow_edge.metrics()
    assert metrics["pdmesh_gateway_slow_readers_total"] == 1
    await slow.close()


async def test_a_client_that_catches_up_misses_nothing(narrow_edge: Edge) -> None:
    client = await narrow_edge.client(receive_buffer_bytes=4096)
    client.send(chat())
    job = await narrow_edge.router.job(1)
    expected = ""
    while not (await narrow_edge.metrics())["pdmesh_gateway_paused_clients"]:
        piece = f"{len(expected)} " * 40
        expected += piece
        job.send(narrow_edge.ids(piece))
        await asyncio.sleep(0)
    for number in range(200):
        expected += f"<{number}>"
        job.send(narrow_edge.ids(f"<{number}>"))
    await client.head()
    stream = events(client)
    made = [await anext(stream)]
    while len(text_of(made)) < len(expected):
        made.append(await anext(stream))
    job.send(narrow_edge.ids("end"))
    job.end()
    made.extend([event async for event in stream])
    assert text_of(made) == expected + "end"
    await client.close()


async def test_choices_of_a_client_that_catches_up_miss_nothing(narrow_edge: Edge) -> None:
    client = await narrow_edge.client(receive_buffer_bytes=4096)
    client.send(chat(n=2))
    first = await narrow_edge.router.job(1)
    first.send(narrow_edge.ids("<first>"))
    second = await narrow_edge.router.job(2)
    expected = ["<first>", ""]
    while not (await narrow_edge.metrics())["pdmesh_gateway_paused_clients"]:
        for index, job in enumerate((first, second)):
            piece = f"{index}:{len(expected[index])} " * 40
            expected[index] += piece
            job.send(narrow_edge.ids(piece))
        await asyncio.sleep(0)
    first.end(types_pb2.FINISH_REASON_LENGTH)
    second.send(narrow_edge.ids("end"))
    second.end()
    await client.head()
    made = [event async for event in events(client) if event != "[DONE]"]
    choices = [event["choices"][0] for event in made]
    for index, text in enumerate((expected[0], expected[1] + "end")):
        own = [choice for choice in choices if choice["index"] == index]
        assert "".join(choice["delta"].get("content", "") for choice in own) == text
        assert own[-1]["finish_reason"] == ("length", "stop")[index]
        assert sum(choice["finish_reason"] is not None for choice in own) == 1
    await client.close()


async def test_a_stream_may_end_while_its_client_is_behind(narrow_edge: Edge) -> None:
    client = await narrow_edge.client(receive_buffer_bytes=4096)
    client.send(chat())
    job = await narrow_edge.router.job(1)
    expected = ""
    while not (await narrow_edge.metrics())["pdmesh_gateway_paused_clients"]:
        piece = f"{len(expected)} " * 40
        expected += piece
        job.send(narrow_edge.ids(piece))
        await asyncio.sleep(0)
    job.send(narrow_edge.ids("last words"))
    job.end()
    await asyncio.sleep(0.05)
    await client.head()
    assert text_of([event async for event in events(client)]) == expected + "last words"
    client.send(get("/health"))
    assert (await client.response()).status == 200
    await client.close()


async def test_sixty_streams_at_once(edge: Edge) -> None:
    clients = [await edge.client() for _ in range(60)]
    for number, client in enumerate(clients):
        client.send(chat(messages=[{"role": "user", "content": str(number)}]))
    await edge.router.job(60)
    for step in range(20):
        for job in edge.router.jobs:
            job.send(edge.ids(f" {step}"))
        await asyncio.sleep(0.001)
    for job in edge.router.jobs:
        job.end()
    for client in clients:
        await client.head()
        assert text_of([event async for event in events(client)]) == "".join(f" {step}" for step in range(20))
        await client.close()
