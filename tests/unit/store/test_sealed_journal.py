"""Answers in Redis are encrypted where there is a secret, and given again as they were."""

import uuid

import pytest
from redis.asyncio import Redis

from services.common.credentials.seal import Seal, Unsealed
from services.common.errors import BadSetting, StoreUnavailable
from services.common.store.journal import Addition, Progress
from services.common.store.redis_journal import RedisJournal

OLD, NEW = "an old secret of the mesh", "the new secret of the mesh"
HEAD, PARTS = b'{"status":200}', (b"the capital of France ", b"is Paris")


def journal(url: str, *secrets: str) -> RedisJournal:
    return RedisJournal(url, kept_ttl_ms=60_000, seal=Seal(secrets))


async def write(url: str, name: str, *secrets: str) -> None:
    writer = journal(url, *secrets)
    await writer.claim(name, "digest", "run")
    for number, part in enumerate(PARTS):
        offset, head = (0, HEAD) if number == 0 else (len(PARTS[0]), b"")
        progress = Progress.WHOLE if number else Progress.RUNNING
        (standing,) = await writer.publish([Addition(name, "run", head, part, progress, offset)])
        assert standing.size_bytes == offset + len(part), "offsets are those of the answer"
    await writer.close()


async def read(url: str, name: str, *secrets: str) -> tuple[bytes, bytes]:
    reader = journal(url, *secrets)
    try:
        page = await reader.read(name, "run", "")
    finally:
        await reader.close()
    return page.head, page.body


async def kept(url: str, name: str) -> bytes:
    """All that Redis has of it."""
    async with Redis.from_url(url) as redis:
        return repr([await redis.xrange(key) for key in await redis.keys(f"*{name}*log*")]).encode()


async def test_redis_does_not_have_the_answer_and_its_readers_do(redis_url: str) -> None:
    name = uuid.uuid4().hex
    await write(redis_url, name, NEW)
    stored = await kept(redis_url, name)
    assert b"Paris" not in stored
    assert b"status" not in stored
    assert await read(redis_url, name, NEW) == (HEAD, b"".join(PARTS))


async def test_a_secret_is_changed_without_a_pause(redis_url: str) -> None:
    name = uuid.uuid4().hex
    await write(redis_url, name, OLD)
    assert await read(redis_url, name, NEW, OLD) == (HEAD, b"".join(PARTS))


@pytest.mark.parametrize("written", [(OLD,), ()])
async def test_what_another_secret_closed_is_no_answer(redis_url: str, written: tuple[str, ...]) -> None:
    name = uuid.uuid4().hex
    await write(redis_url, name, *written)
    with pytest.raises(StoreUnavailable):
        await read(redis_url, name, NEW)


async def test_without_a_secret_nothing_is_changed(redis_url: str) -> None:
    name = uuid.uuid4().hex
    await write(redis_url, name)
    assert b"Paris" in await kept(redis_url, name)


def test_a_part_opens_where_it_belongs_and_unchanged() -> None:
    seal = Seal([NEW])
    closed = seal.close(b"words", b"a")
    for broken, context in ((closed, b"b"), (closed[:-1] + b"?", b"a"), (b"short", b"a")):
        with pytest.raises(Unsealed):
            seal.open(broken, context)
    assert seal.close(b"words", b"a") != closed


def test_a_secret_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(BadSetting, match="--answers-secret"):
        Seal(["short"])
