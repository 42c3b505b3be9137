"""Idempotency keys across gateways, through a real Redis: retries elsewhere, deaths, bounds, no Redis."""

import asyncio
import dataclasses
import itertools
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from services.common.errors import NoWorkers, StoreUnavailable
from services.common.limits import DEFAULTS
from services.common.store.journal import Addition, Standing
from services.common.store.redis_journal import RedisJournal
from services.gateway.idempotency.publisher import BATCH_S, BEAT_S
from tests.redis_server import RedisServer, redis_server, running_redis
from tests.wire.gateway.keyed import ask, begun, error_code, event_ids, eventually, text_of
from tests.wire.gateway.two_gateways import Pair, running_pair, running_process


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with running_redis() as url:
        yield url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    client = Redis.from_url(redis_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def pair(model_directory: Path, redis_url: str, redis: "Redis") -> AsyncIterator[Pair]:
    async with running_pair(model_directory, redis_url) as running:
        yield running


def says(pair: Pair, text: str) -> None:
    """Have every request answered with a text."""

    def script(job) -> None:
        job.place()
        for token in pair.ids(text):
            job.send([token])
        job.end()

    pair.router.script = script


async def settled(redis: "Redis") -> None:
    """Wait until every answer in Redis is finished."""
    while b"running" in [await redis.hget(key, "progress") for key in await redis.keys("pdmesh:answer:*}")]:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("streamed", [True, False])
async def test_another_gateway_gives_a_finished_answer_again(
    pair: Pair, redis: "Redis", streamed: bool
) -> None:
    says(pair, "Hello 🦜 there")
    first = await ask(pair.ports[0], "k", stream=streamed)
    await settled(redis)
    again = await ask(pair.ports[1], "k", stream=streamed)
    assert again.body == first.body
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-pdmesh-decode-worker"] == "decode-1"
    assert again.headers["content-type"] == first.headers["content-type"]
    assert len(pair.router.jobs) == 1


async def test_another_gateway_reads_a_running_answer_from_its_start(pair: Pair) -> None:
    client = await begun(pair.ports[0], "k")
    job = await pair.router.job(1)
    job.send(pair.ids("first "))
    await client.head()
    await client.close()
    retry = await begun(pair.ports[1], "k")
    await retry.head()
    chunks = retry.chunks()
    body = await anext(chunks)
    job.send(pair.ids("second"))
    job.end()
    body += b"".join([chunk async for chunk in chunks])
    assert text_of(body) == "first second"
    assert body.endswith(b"data: [DONE]\n\n")
    assert len(pair.router.jobs) == 1
    last = event_ids(body)[0]
    rest = await ask(pair.ports[1], "k", f"last-event-id: {last}")
    assert body.endswith(rest.body)
    assert event_ids(rest.body) == event_ids(body)[1:]
    await retry.close()


async def test_a_whole_answer_is_waited_for_elsewhere(pair: Pair) -> None:
    client = await begun(pair.ports[0], "k", stream=False)
    job = await pair.router.job(1)
    retry = await begun(pair.ports[1], "k", stream=False)
    await asyncio.sleep(0.2)
    job.send(pair.ids("done"))
    job.end()
    bodies = [(await each.response()).body for each in (client, retry)]
    assert bodies[0] == bodies[1]
    assert json.loads(bodies[0])["choices"][0]["message"]["content"] == "done"
    await client.close()
    await retry.close()


async def test_ten_at_two_gateways_at_once_are_one_request(pair: Pair) -> None:
    asking = [asyncio.create_task(ask(pair.ports[number % 2], "k")) for number in range(10)]
    job = await pair.router.job(1)
    for character in "All the same.":
        job.send(pair.ids(character))
        await asyncio.sleep(0.01)
    job.end()
    answers = await asyncio.gather(*asking)
    assert {answer.body for answer in answers} == {answers[0].body}
    assert text_of(answers[0].body) == "All the same."
    assert len(pair.router.jobs) == 1


async def test_another_body_is_a_conflict_elsewhere(pair: Pair) -> None:
    says(pair, "Hello")
    await ask(pair.ports[0], "k")
    other = await ask(pair.ports[1], "k", messages=[{"role": "user", "content": "Bye"}])
    assert (other.status, error_code(other)) == (409, "idempotency_key_reused")


async def test_an_event_of_another_answer_is_a_conflict_elsewhere(pair: Pair) -> None:
    says(pair, "Hello")
    await ask(pair.ports[0], "k")
    refused = await ask(pair.ports[1], "k", "last-event-id: other-1")
    assert (refused.status, error_code(refused)) == (409, "answer_not_kept")


async def test_a_reader_elsewhere_keeps_a_request_alive(
    model_directory: Path, redis_url: str, redis: "Redis"
) -> None:
    async with running_pair(model_directory, redis_url, idempotency_linger_ms=600) as pair:
        client = await begun(pair.ports[0], "k")
        job = await pair.router.job(1)
        job.send(pair.ids("x"))
        await client.head()
        retry = await begun(pair.ports[1], "k")
        await retry.head()
        await client.close()
        await asyncio.sleep(2.0)
        assert not job.is_cancelled
        await retry.close()
        await eventually(lambda: job.is_cancelled)
        says(pair, "Again")
        assert text_of((await ask(pair.ports[1], "k")).body) == "Again"


async def test_an_error_is_not_remembered_elsewhere(pair: Pair) -> None:
    client = await begun(pair.ports[0], "k")
    job = await pair.router.job(1)
    retry = await begun(pair.ports[1], "k")
    job.send(pair.ids("x"))
    await retry.head()
    chunks = retry.chunks()
    body = await anext(chunks)
    job.end(error=NoWorkers("none left", retry_after_ms=1))
    body += b"".join([chunk async for chunk in chunks])
    assert (await client.response()).body == body
    assert b"no_workers" in body
    says(pair, "Better")
    assert text_of((await ask(pair.ports[1], "k")).body) == "Better"
    await client.close()
    await retry.close()


async def test_a_killed_gateways_request_is_taken_over_within_seconds(pair: Pair, redis: "Redis") -> None:
    """The half that the dead gateway told is shown to nobody."""
    async with running_process(pair) as (process, port):
        client = await begun(port, "k")
        job = await pair.router.job(1)
        for word in ("half ", "of ", "it "):
            job.send(pair.ids(word))
            await asyncio.sleep(0.05)
        await client.head()
        body = await anext(client.chunks())
        while not await redis.keys("pdmesh:answer:*log*"):
            await asyncio.sleep(0.01)
        process.kill()
        await process.wait()
        retry = await begun(pair.ports[0], "k")
        resumed = await ask(pair.ports[1], "k", f"last-event-id: {event_ids(body)[0]}")
        assert (resumed.status, error_code(resumed)) == (409, "answer_not_kept")
        again = await pair.router.job(2)
        again.send(pair.ids("whole"))
        again.end()
        answer = await retry.response()
        assert text_of(answer.body) == "whole"
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert (await ask(pair.ports[1], "k")).body == answer.body
        await client.close()
        await retry.close()


async def test_a_copy_breaks_off_when_its_writer_dies(pair: Pair) -> None:
    async with running_process(pair) as (process, port):
        client = await begun(port, "k")
        job = await pair.router.job(1)
        job.send(pair.ids("half"))
        retry = await begun(pair.ports[0], "k")
        await retry.head()
        chunks = retry.chunks()
        assert text_of(await anext(chunks)) == "half"
        process.send_signal(signal.SIGKILL)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
            async for _ in chunks:
                pass
        says(pair, "whole")
        assert text_of((await ask(pair.ports[0], "k")).body) == "whole"
        await client.close()
        await retry.close()


async def test_a_gateway_that_leaves_frees_its_keys_at_once(pair: Pair, redis: "Redis") -> None:
    async with running_process(pair, "--grace-ms", "100") as (process, port):
        client = await begun(port, "k")
        job = await pair.router.job(1)
        job.send(pair.ids("half"))
        await client.head()
        process.terminate()
        assert await process.wait() == 0
        assert await redis.keys("pdmesh:answer:*}") == []
        says(pair, "whole")
        assert text_of((await ask(pair.ports[0], "k")).body) == "whole"
        await client.close()


@pytest.mark.parametrize("is_watched", [True, False])
async def test_what_is_in_redis_is_batched_and_ends(pair: Pair, redis: "Redis", is_watched: bool) -> None:
    """Not a write per token: one in 20 ms for who reads along elsewhere, one in half a second for nobody."""
    client = await begun(pair.ports[0], "k")
    job = await pair.router.job(1)
    reader = None
    if is_watched:
        job.send(pair.ids("x"))
        reader = await begun(pair.ports[1], "k")
        await reader.head()
    began_s = time.monotonic()
    for _ in range(200):
        job.send(pair.ids("x"))
        await asyncio.sleep(0.001)
    job.end()
    body = (await client.response()).body
    await settled(redis)
    took_s = time.monotonic() - began_s
    (log,) = await redis.keys("pdmesh:answer:*log*")
    entries = await redis.xrange(log)
    assert b"".join(entry[b"body"] for _, entry in entries) == body
    assert len(entries) <= took_s / (BATCH_S if is_watched else BEAT_S) + 2
    for key in await redis.keys("pdmesh:answer:*}"):
        assert 290_000 < await redis.pttl(key) <= 300_000
    assert 290_000 < await redis.pttl(log) <= 300_000
    await client.close()
    if reader is not None:
        await reader.close()


async def test_a_write_whose_outcome_is_unknown_is_made_once(
    pair: Pair, redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis takes every second batch without a word, as when the connection breaks before the answer."""
    publish = RedisJournal.publish
    calls = itertools.count()

    async def mute(journal: RedisJournal, additions: Sequence[Addition]) -> list[Standing]:
        standings = await publish(journal, additions)
        if next(calls) % 2:
            raise StoreUnavailable("no word")
        return standings

    monkeypatch.setattr(RedisJournal, "publish", mute)
    monkeypatch.setattr("services.gateway.idempotency.publisher.BEAT_S", 0.05)
    client = await begun(pair.ports[0], "k")
    job = await pair.router.job(1)
    for number in range(100):
        job.send(pair.ids(f"{number} "))
        await asyncio.sleep(0.01)
    job.end()
    body = (await client.response()).body
    await settled(redis)
    assert next(calls) > 5
    assert (await ask(pair.ports[1], "k")).body == body
    assert len(pair.router.jobs) == 1
    await client.close()


async def test_a_large_answer_leaves_redis(
    model_directory: Path, redis_url: str, redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = dataclasses.replace(DEFAULTS, idempotency_answer_bytes_max=4_000)
    monkeypatch.setattr("services.gateway.main.DEFAULTS", limits)
    async with running_pair(model_directory, redis_url) as pair:
        client = await begun(pair.ports[0], "k")
        job = await pair.router.job(1)
        for number in range(100):
            job.send(pair.ids(f"{number} " * 20))
            await asyncio.sleep(0.001)
        job.end()
        whole = (await client.response()).body
        assert whole.endswith(b"data: [DONE]\n\n")
        await settled(redis)
        assert await redis.keys("pdmesh:answer:*log*") == []
        refused = await ask(pair.ports[1], "k")
        assert (refused.status, error_code(refused)) == (409, "answer_not_kept")
        await client.close()


async def test_all_answers_in_redis_are_bounded(
    model_directory: Path, redis_url: str, redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = dataclasses.replace(DEFAULTS, idempotency_kept_bytes_max=20_000)
    monkeypatch.setattr("services.gateway.main.DEFAULTS", limits)
    async with running_pair(model_directory, redis_url) as pair:
        says(pair, "Some words of an answer")
        for number in range(40):
            await ask(pair.ports[0], str(number))
        await settled(redis)
        while True:
            logs = await redis.keys("pdmesh:answer:*log*")
            sizes = [len(e[b"body"]) for log in logs for _, e in await redis.xrange(log)]
            if sum(sizes) <= 20_000:
                break
            await asyncio.sleep(0.05)
        assert logs
        newest = await ask(pair.ports[1], "39")
        assert newest.headers["idempotent-replayed"] == "true"
        oldest = await ask(pair.ports[1], "0")
        assert "idempotent-replayed" not in oldest.headers


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


async def test_without_redis_requests_run_for_their_gateway_alone(
    model_directory: Path, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_pair(model_directory, own_redis.url) as pair:
        client = await begun(pair.ports[0], "k")
        job = await pair.router.job(1)
        job.send(pair.ids("before "))
        await client.head()
        chunks = client.chunks()
        body = await anext(chunks)
        own_redis.kill()
        for _ in range(20):
            job.send(pair.ids("x"))
            await asyncio.sleep(0.02)
        job.end()
        body += b"".join([chunk async for chunk in chunks])
        assert text_of(body) == "before " + "x" * 20
        assert (await ask(pair.ports[0], "k")).body == body
        says(pair, "elsewhere")
        first = await ask(pair.ports[1], "k")
        assert text_of(first.body) == "elsewhere"
        assert (await ask(pair.ports[1], "k")).body == first.body

        def said() -> int:
            return sum("reach only this gateway" in record.message for record in caplog.records)

        await eventually(lambda: said() == 2)  # once for each gateway
        await client.close()


async def test_a_redis_that_hangs_holds_up_nobody(model_directory: Path, own_redis: RedisServer) -> None:
    async with running_pair(model_directory, own_redis.url) as pair:
        client = await begun(pair.ports[0], "k")
        job = await pair.router.job(1)
        own_redis.signal(signal.SIGSTOP)
        says(pair, "other")
        answers = await asyncio.gather(*(ask(pair.ports[0], str(number)) for number in range(5)))
        assert {text_of(answer.body) for answer in answers} == {"other"}
        job.send(pair.ids("one"))
        job.end()
        assert text_of((await client.response()).body) == "one"
        own_redis.signal(signal.SIGCONT)
        await client.close()


async def test_without_redis_requests_may_be_refused(model_directory: Path, own_redis: RedisServer) -> None:
    async with running_pair(model_directory, own_redis.url, store_failure="closed") as pair:
        says(pair, "Hello")
        assert (await ask(pair.ports[0], "before")).status == 200
        own_redis.kill()
        refused = await ask(pair.ports[0], "k")
        assert (refused.status, error_code(refused)) == (503, "idempotency_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await ask(pair.ports[0], "")).status == 200
        assert (await ask(pair.ports[0], "before")).headers["idempotent-replayed"] == "true"


async def test_redis_that_comes_back_is_used_again(model_directory: Path, own_redis: RedisServer) -> None:
    async with running_pair(model_directory, own_redis.url) as pair:
        says(pair, "Hello")
        own_redis.kill()
        await ask(pair.ports[0], "k")
        own_redis.start()
        for number in range(200):
            first = await ask(pair.ports[0], str(number))
            await asyncio.sleep(0.1)
            if (await ask(pair.ports[1], str(number))).body == first.body:
                break
        else:
            pytest.fail("keys never reach the other gateway again")
