"""The journal, in a real Redis: names, runs, times to live."""

import uuid
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from services.common.errors import StoreUnavailable
from services.common.store import open_journal
from services.common.store.journal import Addition, Journal, Progress, Run
from services.common.store.redis_journal import BROKEN_TTL_MS, RedisJournal

KEPT_TTL_MS = 300_000


@pytest.fixture
async def journal(redis_url: str) -> AsyncIterator[Journal]:
    opened = RedisJournal(redis_url, kept_ttl_ms=KEPT_TTL_MS)
    yield opened
    await opened.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex


def added(
    name: str,
    run: str,
    body: bytes,
    progress: Progress = Progress.RUNNING,
    head: bytes = b"",
    offset_bytes: int = 0,
) -> Addition:
    return Addition(name, run, head, body, progress, offset_bytes)


async def ttl_ms(redis: "Redis", pattern: str) -> list[int]:
    return [await redis.pttl(key) for key in await redis.keys(pattern)]


async def test_a_name_is_claimed_once(journal: Journal, name: str) -> None:
    assert await journal.claim(name, "d1", "r1") is None
    assert await journal.claim(name, "d2", "r2") == Run("d1", "r1", Progress.RUNNING, 0)
    assert await journal.look(name) == Run("d1", "r1", Progress.RUNNING, 0)
    assert await journal.look(name + "?") is None


async def test_what_is_published_is_read_in_order_and_page_by_page(journal: Journal, name: str) -> None:
    await journal.claim(name, "d", "r")
    await journal.publish([added(name, "r", b"a" * 5, head=b"{}")])
    page = await journal.read(name, "r", "")
    assert (page.head, page.body, page.progress, page.is_last) == (b"{}", b"aaaaa", Progress.RUNNING, True)
    size = 5
    for part in [b"%d," % number for number in range(300)]:
        (standing,) = await journal.publish([added(name, "r", part, offset_bytes=size)])
        size += len(part)
        assert standing.size_bytes == size
    await journal.publish([added(name, "r", b"end", Progress.WHOLE, offset_bytes=size)])
    body, position, pages = b"", page.position, 0
    while page.progress is Progress.RUNNING:
        page = await journal.read(name, "r", position)
        body += page.body
        position = page.position
        pages += 1
    assert body == b"".join(b"%d," % number for number in range(300)) + b"end"
    assert pages == 2
    again = await journal.read(name, "r", position)
    assert (again.body, again.position, again.progress) == (b"", position, Progress.RUNNING)


async def test_what_is_sent_again_is_added_once(journal: Journal, name: str) -> None:
    await journal.claim(name, "d", "r")
    first = added(name, "r", b"one", head=b"{}")
    for _ in range(2):
        (standing,) = await journal.publish([first])
        assert standing.is_mine
        assert standing.size_bytes == 3
    (standing,) = await journal.publish([added(name, "r", b"onetwo", Progress.WHOLE)])
    assert standing.size_bytes == 3
    (standing,) = await journal.publish([added(name, "r", b"two", Progress.WHOLE, offset_bytes=3)])
    assert standing.size_bytes == 6
    page = await journal.read(name, "r", "")
    assert (page.head, page.body, page.progress) == (b"{}", b"onetwo", Progress.WHOLE)


async def test_a_sign_of_life_counts_and_adds_nothing(journal: Journal, redis: "Redis", name: str) -> None:
    await journal.claim(name, "d", "r")
    (standing,) = await journal.publish([added(name, "r", b"")])
    assert standing.is_mine
    assert not standing.is_watched
    found = await journal.look(name)
    assert found is not None
    assert found.beat == 1
    (standing,) = await journal.publish([added(name, "r", b"")])
    assert standing.is_watched
    assert await redis.keys(f"*{name}*log*") == []


async def test_a_run_that_lost_its_name_adds_nothing(journal: Journal, redis: "Redis", name: str) -> None:
    await journal.claim(name, "d", "r1")
    await redis.delete(f"pdmesh:answer:{{{name}}}")
    (standing,) = await journal.publish([added(name, "r1", b"x")])
    assert (standing.is_mine, standing.is_others) == (False, False)
    await journal.claim(name, "d", "r2")
    (standing,) = await journal.publish([added(name, "r1", b"x")])
    assert (standing.is_mine, standing.is_others) == (False, True)
    assert (await journal.read(name, "r1", "")).body == b""
    await journal.forget(name, "r1")
    assert (await journal.look(name)) is not None


async def test_everything_has_a_time_to_live(journal: Journal, redis: "Redis", name: str) -> None:
    await journal.claim(name, "d", "r")
    await journal.look(name)
    await journal.publish([added(name, "r", b"x")])
    times = await ttl_ms(redis, f"*{name}*")
    assert len(times) == 3
    assert all(0 < ttl <= BROKEN_TTL_MS for ttl in times)
    await journal.publish([added(name, "r", b"", Progress.WHOLE, offset_bytes=1)])
    times = sorted(await ttl_ms(redis, f"*{name}*"))
    assert times[0] <= 2_000
    assert all(KEPT_TTL_MS - 5_000 < ttl <= KEPT_TTL_MS for ttl in times[1:])


@pytest.mark.parametrize("progress", [Progress.SPENT, Progress.BROKEN])
async def test_a_run_that_is_not_kept_frees_its_name_and_tells_who_reads(
    journal: Journal, redis: "Redis", name: str, progress: Progress
) -> None:
    await journal.claim(name, "d", "r")
    await journal.publish([added(name, "r", b"x", progress)])
    assert await journal.look(name) is None
    assert (await journal.read(name, "r", "")).progress is progress
    assert await ttl_ms(redis, f"*{name}*log*") != [-1]


async def test_of_a_large_answer_only_that_is_kept(journal: Journal, redis: "Redis", name: str) -> None:
    await journal.claim(name, "d", "r")
    await journal.publish([added(name, "r", b"x")])
    await journal.publish([added(name, "r", b"", Progress.LARGE)])
    assert await journal.claim(name, "d", "r2") == Run("d", "r", Progress.LARGE, 1)
    assert await redis.keys(f"*{name}*log*") == []
    await journal.forget(name, "r")
    assert await redis.keys(f"pdmesh:answer:{{{name}}}") == []


async def test_without_redis_every_method_says_so() -> None:
    journal = open_journal("redis://:secret@127.0.0.1:1/0", kept_ttl_ms=1)
    assert journal is not None
    for command in (
        journal.claim("n", "d", "r"),
        journal.look("n"),
        journal.publish([added("n", "r", b"")]),
        journal.read("n", "r", ""),
        journal.forget("n", "r"),
    ):
        with pytest.raises(StoreUnavailable) as away:
            await command
        assert "secret" not in away.value.message
    await journal.close()
    assert open_journal("", kept_ttl_ms=1) is None


async def test_the_last_word_may_come_twice(journal: Journal, redis: "Redis", name: str) -> None:
    """As it does when its answer came too late: what is whole is kept for as long as before."""
    await journal.claim(name, "d", "r")
    for _ in range(2):
        await journal.publish([added(name, "r", b"ab", Progress.WHOLE)])
    assert min(await ttl_ms(redis, f"*{name}*")) > KEPT_TTL_MS / 2
    assert (await journal.look(name)) == Run("d", "r", Progress.WHOLE, 0)
