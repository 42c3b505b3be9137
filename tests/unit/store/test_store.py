"""Both stores keep the same promises."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from services.common.clock import ManualClock
from services.common.errors import StoreUnavailable
from services.common.store import Presence, Store, announce, connect, present
from services.common.store.memory import MemoryStore
from services.common.store.redis import RedisStore


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else ""
    opened = await connect(url)
    for key in ("key", "short", "long"):
        await opened.delete(key)
    yield opened
    await opened.close()


async def test_answers_ping(store: Store) -> None:
    await store.ping()


async def test_gives_back_what_was_set(store: Store) -> None:
    assert await store.get("key") is None
    await store.set("key", b"\x00value", 10_000)
    await store.set("key", b"\x00other", 10_000)
    assert await store.get("key") == b"\x00other"


async def test_values_end_with_their_time(store: Store) -> None:
    await store.set("short", b"1", 20)
    await store.set("long", b"1", 10_000)
    while await store.get("short") is not None:
        await asyncio.sleep(0.01)
    assert await store.get("long") == b"1"


async def test_deletes_once(store: Store) -> None:
    await store.set("key", b"1", 10_000)
    assert await store.delete("key")
    assert not await store.delete("key")
    assert await store.get("key") is None


async def test_what_one_has_claimed_nobody_else_gets_until_it_ends_or_is_given_up(store: Store) -> None:
    assert await store.claim("key", b"a", 10_000) == b"a"
    assert await store.claim("key", b"b", 10_000) == b"a"
    assert await store.claim("key", b"b", 0) == b"a"
    assert await store.claim("key", b"a", 30) == b"a"
    while await store.claim("key", b"b", 10_000) != b"b":
        await asyncio.sleep(0.01)
    assert await store.claim("key", b"b", 0) == b"b"
    assert await store.claim("key", b"a", 10_000) == b"a"


async def test_a_roster_has_those_who_say_so_until_their_time_ends_or_they_leave(store: Store) -> None:
    roster = uuid.uuid4().hex
    assert await store.enter(roster, "b", 60_000) == ["b"]
    assert await store.enter(roster, "a", 60_000) == ["a", "b"]
    assert await store.enter(roster, "c", 20) == ["a", "b", "c"]
    while "c" in await store.members(roster):
        await asyncio.sleep(0.01)
    await store.leave(roster, "b")
    await store.leave(roster, "b")
    assert await store.enter(roster, "a", 60_000) == ["a"]
    assert await store.members(uuid.uuid4().hex) == []


async def test_presence_lasts_as_long_as_its_task(store: Store) -> None:
    record = Presence("decode", "decode-1", "127.0.0.1:1", 42, "0.1.0")
    task = asyncio.create_task(announce(store, record))
    while not await present(store):
        await asyncio.sleep(0.01)
    assert await present(store) == [record]
    task.cancel()
    await asyncio.wait([task])
    assert await present(store) == []


async def test_the_memory_store_refuses_past_its_bound_until_something_ends() -> None:
    clock = ManualClock()
    full = MemoryStore(clock, entries_max=2)
    await full.set("a", b"1", 100)
    await full.set("b", b"1", 200)
    with pytest.raises(StoreUnavailable, match="full"):
        await full.set("c", b"1", 100)
    await full.set("a", b"2", 100)
    clock.advance(100)
    await full.set("c", b"1", 100)
    assert [await full.get(key) for key in "abc"] == [None, b"1", b"1"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://127.0.0.1:1/0", "does not answer"),
        ("redis://:secret@127.0.0.1:1/0", "does not answer"),
        ("http://127.0.0.1:1", "is not an address"),
    ],
)
async def test_a_store_that_is_not_there_is_one_line(url: str, says: str) -> None:
    with pytest.raises(StoreUnavailable, match=says) as refused:
        await connect(url)
    assert "\n" not in refused.value.message
    assert "secret" not in refused.value.message


async def test_commands_fail_clearly_when_redis_goes_away() -> None:
    store = RedisStore("redis://127.0.0.1:1/0")
    for command in (store.get("a"), store.set("a", b"", 1), store.enter("a", "b", 1)):
        with pytest.raises(StoreUnavailable):
            await command
    await store.close()
