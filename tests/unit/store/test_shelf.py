"""Both shelves keep the newest entries of each owner, for a while."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.common.clock import ManualClock, MonotonicClock
from services.common.store import Shelf, ShelfBounds, open_shelf
from services.common.store.memory_shelf import MemoryShelf

BOUNDS = ShelfBounds(entries_per_owner_max=3, bytes_per_owner_max=600, size_bytes_max=1_000, ttl_ms=60_000)


@pytest.fixture(params=["memory", "redis"])
async def shelf(request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    if request.param == "memory":
        opened: Shelf = MemoryShelf(MonotonicClock(), BOUNDS)
    else:
        shared = open_shelf(request.getfixturevalue("redis_url"), BOUNDS)
        assert shared is not None
        opened = shared
    yield opened
    for owner in ("a", "b"):
        for number in range(9):
            await opened.remove(owner, str(number))
    await opened.close()


async def test_entries_are_of_their_owner(shelf: Shelf) -> None:
    await shelf.keep("a", "1", b"\x00one")
    assert await shelf.find("a", "1") == b"\x00one"
    assert await shelf.find("b", "1") is None
    await shelf.keep("a", "1", b"")
    assert await shelf.find("a", "1") == b""
    await shelf.keep("a", "1", b"other")
    assert await shelf.find("a", "1") == b"other"
    assert not await shelf.remove("b", "1")
    assert await shelf.remove("a", "1")
    assert not await shelf.remove("a", "1")
    assert await shelf.find("a", "1") is None


async def test_of_each_owner_the_newest_stay(shelf: Shelf) -> None:
    await shelf.keep("b", "1", b"b")
    for number in range(5):
        await shelf.keep("a", str(number), b"x")
    await shelf.keep("a", "3", b"again")
    await shelf.keep("a", "5", b"x")
    assert [n for n in range(6) if await shelf.find("a", str(n))] == [3, 4, 5]
    assert await shelf.find("b", "1") == b"b"


async def test_entries_end_with_their_time(request: pytest.FixtureRequest) -> None:
    shared = open_shelf(request.getfixturevalue("redis_url"), ShelfBounds(3, 600, 1_000, ttl_ms=20))
    assert shared is not None
    await shared.keep("a", "short", b"1")
    while await shared.find("a", "short") is not None:
        await asyncio.sleep(0.01)
    await shared.close()


async def test_an_owner_s_bytes_are_bounded(shelf: Shelf) -> None:
    for number, size_bytes in enumerate((300, 200, 300)):
        await shelf.keep("a", str(number), bytes(size_bytes))
    assert [n for n in range(3) if await shelf.find("a", str(n))] == [1, 2]
    await shelf.remove("a", "2")
    await shelf.keep("a", "3", bytes(300))
    await shelf.keep("a", "3", bytes(400))  # in the place of the other
    assert [n for n in range(4) if await shelf.find("a", str(n))] == [1, 3]
    await shelf.keep("a", "4", bytes(700))  # more than all that an owner may have
    assert [n for n in range(5) if await shelf.find("a", str(n))] == []


async def test_here_they_end_with_their_time_and_are_bounded_together() -> None:
    clock = ManualClock()
    shelf = MemoryShelf(clock, BOUNDS)
    await shelf.keep("a", "1", bytes(300))
    await shelf.keep("b", "2", bytes(200))
    await shelf.keep("b", "3", bytes(300))
    clock.advance(30_000)
    await shelf.keep("c", "4", bytes(300))  # the oldest of who has most goes, and not the oldest of all
    keys = [("a", "1"), ("b", "2"), ("b", "3"), ("c", "4")]
    assert [key for key in keys if await shelf.find(*key)] == [keys[0], keys[2], keys[3]]
    clock.advance(30_000)
    assert [key for key in keys if await shelf.find(*key)] == [keys[3]]
    clock.advance(30_000)
    shelf.drop_expired()
    assert shelf.size_bytes == 0


async def test_in_redis_they_can_be_encrypted(request: pytest.FixtureRequest) -> None:
    url, secret, other = request.getfixturevalue("redis_url"), "a" * 16, "b" * 16
    opened = [open_shelf(url, BOUNDS, secrets) for secrets in ((), [secret], [other], [other, secret])]
    plain, sealed, foreign, newer = (shelf for shelf in opened if shelf is not None)
    await sealed.keep("a", "1", b"what was said")
    lies_there = await plain.find("a", "1")
    assert lies_there is not None
    assert b"said" not in lies_there
    assert await sealed.find("a", "1") == await newer.find("a", "1") == b"what was said"
    assert await foreign.find("a", "1") is None
    assert await foreign.remove("a", "1")
    for shelf in (plain, sealed, foreign, newer):
        await shelf.close()


def test_without_redis_there_is_none_to_share() -> None:
    assert open_shelf("", BOUNDS) is None
