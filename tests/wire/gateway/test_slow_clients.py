"""Many clients that stop reading: each is paused, then cut off, and nobody else notices."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.common.limits import DEFAULTS
from tests.wire.gateway.conftest import Edge, running_edge
from tests.wire.gateway.fake_router import Job
from tests.wire.gateway.raw_http import RawClient, post

SLOW = 5
HEALTHY = 3


@pytest.fixture
async def narrow_edge(model_directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Edge]:
    """A gateway with so little room that a client which does not read shows soon."""
    little = {"client_socket_buffer_bytes": 4096, "client_buffer_bytes_max": 16_384}
    monkeypatch.setattr("services.gateway.main.DEFAULTS", dataclasses.replace(DEFAULTS, **little))
    async with running_edge(model_directory, grace_ms=200) as running:
        yield running


def chat(name: str) -> bytes:
    messages = [{"role": "user", "content": name}]
    body = {"model": "tiny", "messages": messages, "stream": True, "ignore_eos": True}
    return post("/v1/chat/completions", json.dumps(body).encode())


async def asked(edge: Edge, name: str, receive_buffer_bytes: int = 0) -> tuple[RawClient, Job]:
    """A client that has asked, and its job."""
    number = len(edge.router.jobs) + 1
    client = await edge.client(receive_buffer_bytes)
    client.send(chat(name))
    job = await edge.router.job(number)
    job.place()
    return client, job


async def read_pieces(client: RawClient, pieces: list[str]) -> None:
    """Collect what comes until the stream's end."""
    assert (await client.head()).status == 200
    async for chunk in client.chunks():
        for line in chunk.decode().splitlines():
            if line.startswith("data: {"):
                delta = json.loads(line.removeprefix("data: "))["choices"][0]["delta"]
                pieces.append(delta.get("content", ""))


async def test_they_are_paused_then_cut_off_alone(narrow_edge: Edge) -> None:
    slow = [await asked(narrow_edge, f"slow {n}", receive_buffer_bytes=4096) for n in range(SLOW)]
    healthy = [await asked(narrow_edge, f"healthy {n}") for n in range(HEALTHY)]
    read: list[list[str]] = [[] for _ in healthy]
    readers = [
        asyncio.create_task(read_pieces(client, pieces))
        for (client, _), pieces in zip(healthy, read, strict=True)
    ]
    long_text, words = narrow_edge.ids("ein langer Text " * 300), 0
    paused_most = 0.0
    while not all(job.is_cancelled for _, job in slow):
        for _, job in slow:
            if not job.is_cancelled:
                job.send(long_text)
        for _, job in healthy:
            job.send(narrow_edge.ids("x"))
        words += 1
        paused_most = max(paused_most, (await narrow_edge.metrics())["pdmesh_gateway_paused_clients"])
    for _, job in healthy:
        job.end()
    await asyncio.gather(*readers)
    assert ["".join(pieces) for pieces in read] == ["x" * words] * HEALTHY
    assert not any(job.is_cancelled for _, job in healthy)
    assert paused_most > 0
    metrics = await narrow_edge.metrics()
    assert metrics["pdmesh_gateway_slow_readers_total"] == SLOW
    assert metrics["pdmesh_gateway_paused_clients"] == 0
    for client, _ in [*slow, *healthy]:
        await client.close()


async def test_one_that_is_cut_off_for_the_time_that_it_takes_nothing_is_counted_too(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is short enough for the kernel, and gives its worker back all the same."""
    monkeypatch.setattr("services.gateway.http.server.TICK_S", 0.01)
    patience = dataclasses.replace(DEFAULTS, client_stall_ms_max=100)
    monkeypatch.setattr("services.gateway.main.DEFAULTS", patience)
    async with running_edge(model_directory, grace_ms=200) as edge:
        client, job = await asked(edge, "never reads", receive_buffer_bytes=4096)
        job.send(edge.ids("ein langer Text " * 3_000))
        async with asyncio.timeout(20):
            while not job.is_cancelled:
                await asyncio.sleep(0.01)
        assert (await edge.metrics())["pdmesh_gateway_slow_readers_total"] == 1
        await client.close()
