"""Idempotency keys at one gateway: retries, readers that come and go, bounds."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from services.common.errors import NoWorkers
from services.common.limits import DEFAULTS
from tests.wire.gateway.conftest import Edge, running_edge
from tests.wire.gateway.keyed import ask, begun, chat, error_code, event_ids, eventually, text_of
from tests.wire.gateway.raw_http import RawClient, post


@pytest.fixture
async def hasty(model_directory: Path) -> AsyncIterator[Edge]:
    """A gateway that waits only a moment for a reader."""
    async with running_edge(model_directory, grace_ms=200, idempotency_linger_ms=0) as running:
        yield running


@pytest.fixture
async def small(model_directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Edge]:
    """A gateway that keeps little."""
    limits = dataclasses.replace(
        DEFAULTS, idempotency_answer_bytes_max=4_000, idempotency_kept_bytes_max=10_000
    )
    monkeypatch.setattr("services.gateway.main.DEFAULTS", limits)
    async with running_edge(model_directory, grace_ms=200) as running:
        yield running


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_finished_answer_is_given_again_byte_for_byte(edge: Edge, streamed: bool) -> None:
    edge.router.script = edge.says("Hello 🦜 there", per_frame=2)
    first = await ask(edge.port, "k", stream=streamed)
    again = await ask(edge.port, "k", stream=streamed)
    assert first.status == again.status == 200
    assert again.body == first.body
    assert len(edge.router.jobs) == 1
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["x-pdmesh-decode-worker"] == first.headers["x-pdmesh-decode-worker"] == "decode-1"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]


async def test_only_streams_with_a_key_number_their_events(edge: Edge) -> None:
    edge.router.script = edge.says("Hello")
    keyed = await ask(edge.port, "k")
    ids = event_ids(keyed.body)
    run = ids[0].rpartition("-")[0]
    assert ids == [f"{run}-{number}" for number in range(1, len(ids) + 1)]
    assert len(ids) == keyed.body.count(b"data: ")
    plain = await ask(edge.port, "")
    assert event_ids(plain.body) == []
    assert (await ask(edge.port, "")).status == 200
    assert len(edge.router.jobs) == 3


async def test_a_retry_reads_a_running_answer_from_its_start(edge: Edge) -> None:
    client = await begun(edge.port, "k")
    job = await edge.router.job(1)
    job.send(edge.ids("first "))
    await client.head()
    seen = await anext(client.chunks())
    await client.close()
    job.send(edge.ids("second "))
    retry = await begun(edge.port, "k")
    await retry.head()
    chunks = retry.chunks()
    body = await anext(chunks)
    assert body.startswith(seen)
    job.send(edge.ids("third"))
    job.end()
    body += b"".join([chunk async for chunk in chunks])
    assert text_of(body) == "first second third"
    assert body.endswith(b"data: [DONE]\n\n")
    assert not job.is_cancelled
    assert len(edge.router.jobs) == 1
    assert (await ask(edge.port, "k")).body == body
    await retry.close()


async def test_twenty_at_once_are_one_request(edge: Edge) -> None:
    asking = [asyncio.create_task(ask(edge.port, "k")) for _ in range(20)]
    job = await edge.router.job(1)
    for character in "All the same.":
        job.send(edge.ids(character))
        await asyncio.sleep(0.001)
    job.end()
    answers = await asyncio.gather(*asking)
    assert {answer.body for answer in answers} == {answers[0].body}
    assert text_of(answers[0].body) == "All the same."
    assert len(edge.router.jobs) == 1


@pytest.mark.parametrize("is_running", [True, False])
async def test_a_client_goes_on_after_the_last_event_it_has(edge: Edge, is_running: bool) -> None:
    client = await begun(edge.port, "k")
    job = await edge.router.job(1)
    job.send(edge.ids("one "))
    await client.head()
    chunks = client.chunks()
    body = await anext(chunks)
    for word in ("two", "three"):  # each in an event of its own
        job.send(edge.ids(f"{word} "))
        while word.encode() not in body:
            body += await anext(chunks)
    if is_running:
        first = await begun(edge.port, "k")
        await first.head()
        body = await anext(first.chunks())
        await first.close()
    else:
        job.end()
        body += b"".join([chunk async for chunk in chunks])
    ids = event_ids(body)
    last = ids[1]
    retry = await begun(edge.port, "k", f"last-event-id: {last}")
    if is_running:
        job.send(edge.ids("four"))
        job.end()
    rest = (await retry.response()).body
    whole = (await ask(edge.port, "k")).body
    at = whole.index(b"id: " + ids[2].encode() + b"\n")
    assert rest == whole[at:]
    assert event_ids(rest)[0] == ids[2]
    await retry.close()
    await client.close()


@pytest.mark.parametrize("event_id", ["other-1", "nonsense", "{run}-999"])
async def test_an_event_that_is_not_there_is_a_conflict(edge: Edge, event_id: str) -> None:
    edge.router.script = edge.says("Hello")
    run = event_ids((await ask(edge.port, "k")).body)[0].rpartition("-")[0]
    refused = await ask(edge.port, "k", f"last-event-id: {event_id.format(run=run)}")
    assert refused.status == 409
    assert error_code(refused) == "answer_not_kept"


async def test_nothing_is_begun_for_a_client_that_wants_to_go_on(edge: Edge) -> None:
    edge.router.script = edge.says("Hello")
    refused = await ask(edge.port, "new", "last-event-id: gone-7")
    assert (refused.status, error_code(refused)) == (409, "answer_not_kept")
    assert edge.router.jobs == []
    assert (await ask(edge.port, "new")).status == 200


async def test_another_body_is_a_conflict(edge: Edge) -> None:
    edge.router.script = edge.says("Hello")
    await ask(edge.port, "k")
    other = await ask(edge.port, "k", messages=[{"role": "user", "content": "Bye"}])
    assert (other.status, error_code(other)) == (409, "idempotency_key_reused")
    client = await edge.client()
    body = json.dumps({"model": "tiny", "prompt": "x"}).encode()
    client.send(post("/v1/completions", body, "idempotency-key: k"))
    assert (await client.response()).status == 409
    await client.close()
    assert len(edge.router.jobs) == 1


@pytest.mark.parametrize("streamed", [True, False])
async def test_what_nobody_comes_back_for_is_cancelled(hasty: Edge, streamed: bool) -> None:
    client = await begun(hasty.port, "k", stream=streamed)
    job = await hasty.router.job(1)
    job.send(hasty.ids("x"))
    await client.close()
    await eventually(lambda: job.is_cancelled)
    hasty.router.script = hasty.says("Again")
    answer = await ask(hasty.port, "k")
    assert text_of(answer.body) == "Again"
    assert "idempotent-replayed" not in answer.headers


async def test_what_somebody_reads_is_not_cancelled(hasty: Edge) -> None:
    client = await begun(hasty.port, "k")
    job = await hasty.router.job(1)
    retry = await begun(hasty.port, "k")
    job.send(hasty.ids("x"))
    await retry.head()
    await client.close()
    for _ in range(60):
        job.send(hasty.ids("y"))
        await asyncio.sleep(0.01)
    assert not job.is_cancelled
    job.end()
    await retry.close()


@pytest.mark.parametrize("has_token", [True, False])
@pytest.mark.parametrize("streamed", [True, False])
async def test_an_error_is_not_remembered(edge: Edge, streamed: bool, has_token: bool) -> None:
    client = await begun(edge.port, "k", stream=streamed)
    job = await edge.router.job(1)
    if has_token:
        job.send(edge.ids("x"))
    job.end(error=NoWorkers("none left", retry_after_ms=1))
    failed = await client.response()
    if streamed and has_token:
        assert b"no_workers" in failed.body
    else:
        assert (failed.status, error_code(failed)) == (503, "no_workers")
    edge.router.script = edge.says("Better")
    assert (await ask(edge.port, "k", stream=streamed)).status == 200
    assert len(edge.router.jobs) == 2
    await client.close()


async def test_a_refused_body_may_be_corrected_under_the_same_key(edge: Edge) -> None:
    edge.router.script = edge.says("Hello")
    wrong = await ask(edge.port, "k", max_tokens=-1)
    assert (wrong.status, json.loads(wrong.body)["error"]["param"]) == (400, "max_tokens")
    assert (await ask(edge.port, "k", max_tokens=5)).status == 200


async def test_a_long_prompt_that_is_refused_in_a_thread_answers_every_reader(edge: Edge) -> None:
    messages = [{"role": "user", "content": "word " * 2_000}]
    answers = await asyncio.gather(*(ask(edge.port, "k", messages=messages) for _ in range(3)))
    refusal = (400, "context_length_exceeded")
    assert [(answer.status, error_code(answer)) for answer in answers] == [refusal] * 3


async def test_an_answer_too_large_to_be_kept_is_given_once(small: Edge) -> None:
    client = await begun(small.port, "k")
    job = await small.router.job(1)
    text = "".join(f"{number} " * 40 for number in range(60))
    job.send(small.ids(text))
    await client.head()
    chunks, body = client.chunks(), b""
    while len(body) < len(text):
        body += await anext(chunks)
    during = await ask(small.port, "k")
    job.end()
    body += b"".join([chunk async for chunk in chunks])
    assert text_of(body) == text
    assert body.endswith(b"data: [DONE]\n\n")
    after = await ask(small.port, "k")
    for refused in (during, after):
        assert (refused.status, error_code(refused)) == (409, "answer_not_kept")
    assert len(small.router.jobs) == 1
    await client.close()


async def test_the_oldest_answers_make_room(small: Edge) -> None:
    small.router.script = small.says("Hello there")
    first = await ask(small.port, "0")
    for number in range(1, 30):
        await ask(small.port, str(number))
    assert (await ask(small.port, "29")).headers.get("idempotent-replayed")
    again = await ask(small.port, "0")
    assert "idempotent-replayed" not in again.headers
    assert again.body != first.body
    metrics = await small.metrics()
    assert 0 < metrics["pdmesh_gateway_idempotency_kept_bytes"] <= 10_000


async def test_a_reader_that_stalls_holds_up_nobody(narrow_edge: Edge) -> None:
    """All of the answer is kept, so that the slow reader may take its time."""
    edge = narrow_edge
    slow = await edge.client(receive_buffer_bytes=4096)
    slow.send(chat("k"))
    job = await edge.router.job(1)
    quick = await begun(edge.port, "k")
    reading, pieces = asyncio.create_task(quick.response()), []
    while not (await edge.metrics())["pdmesh_gateway_paused_clients"]:
        for _ in range(30):
            pieces.append(f"{len(pieces)} " * 20)
            job.send(edge.ids(pieces[-1]))
            await asyncio.sleep(0.001)
    job.end()
    body = (await reading).body
    assert text_of(body) == "".join(pieces)
    assert (await slow.response()).body == body
    assert not job.is_cancelled
    await slow.close()
    await quick.close()


async def test_a_reader_that_stalls_beyond_what_is_kept_is_cut_off(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = dataclasses.replace(
        DEFAULTS,
        client_socket_buffer_bytes=4096,
        idempotency_answer_bytes_max=50_000,
        client_buffer_bytes_max=100_000,
    )
    monkeypatch.setattr("services.gateway.main.DEFAULTS", limits)
    async with running_edge(model_directory, grace_ms=200) as edge:
        slow = await edge.client(receive_buffer_bytes=4096)
        slow.send(chat("k", ignore_eos=True))
        job = await edge.router.job(1)
        quick = await begun(edge.port, "k", ignore_eos=True)
        received = asyncio.create_task(quick.response())
        long_text = edge.ids("ein langer Text " * 100)
        while (await edge.metrics())["pdmesh_gateway_connections"] > 2:
            for _ in range(20):
                job.send(long_text)
                await asyncio.sleep(0.001)
        assert not job.is_cancelled
        job.end()
        assert (await received).body.endswith(b"data: [DONE]\n\n")
        await slow.close()
        await quick.close()


async def test_the_request_id_serves_as_key_where_a_setting_says_so(model_directory: Path) -> None:
    async with running_edge(model_directory, grace_ms=200, idempotency_header="x-request-id") as edge:
        edge.router.script = edge.says("Hello")
        first = await ask(edge.port, "", "x-request-id: mine")
        again = await ask(edge.port, "", "x-request-id: mine")
        assert first.body == again.body
        assert again.headers["x-request-id"] == "mine"
        other = await ask(edge.port, "k", "x-request-id: mine")
        assert "idempotent-replayed" not in other.headers
        assert len(edge.router.jobs) == 2


@pytest.mark.parametrize("header", ["idempotency-key", "off"])
async def test_the_request_id_alone_is_no_key(model_directory: Path, header: str) -> None:
    async with running_edge(model_directory, grace_ms=200, idempotency_header=header) as edge:
        edge.router.script = edge.says("Hello")
        for _ in range(2):
            await ask(edge.port, "", "x-request-id: mine")
        for _ in range(2):
            await ask(edge.port, "k")
        assert len(edge.router.jobs) == (4 if header == "off" else 3)


async def test_a_key_has_a_length(edge: Edge) -> None:
    refused = await ask(edge.port, "k" * 256)
    assert (refused.status, json.loads(refused.body)["error"]["param"]) == (400, "idempotency-key")


async def test_an_answer_ends_with_its_connection_for_an_old_client(edge: Edge) -> None:
    """HTTP/1.0 has no chunks; the bytes of the body are the same."""
    edge.router.script = edge.says("Hello")
    first = await ask(edge.port, "k")
    client = await RawClient.connect(edge.port)
    client.send(chat("k").replace(b"HTTP/1.1", b"HTTP/1.0"))
    head = await client.head()
    assert "transfer-encoding" not in head.headers
    assert await client.reader.read() == first.body
    await client.close()


async def test_the_official_client_reads_a_replay_as_it_read_the_answer(edge: Edge) -> None:
    edge.router.script = edge.says("Hello 🦜 there", per_frame=2)
    chunks = []
    async with openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="none", max_retries=0) as client:
        for _ in range(2):
            stream = await client.chat.completions.create(
                model="tiny",
                messages=[{"role": "user", "content": "Hi"}],
                stream=True,
                extra_headers={"Idempotency-Key": "k"},
            )
            chunks.append([chunk async for chunk in stream])
    assert chunks[0] == chunks[1]
    assert "".join(c.choices[0].delta.content or "" for c in chunks[0]) == "Hello 🦜 there"
    assert len(edge.router.jobs) == 1
