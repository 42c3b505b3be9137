"""Whose turn it is in the threads that work on texts."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from services.common.clock import ManualClock
from services.common.errors import RenderingFull
from services.gateway.call.fair_threads import LONG_BYTES, FairThreads
from services.gateway.shared_room import SharedRoom
from services.gateway.tenants import Caller

MIB = 1024 * 1024
MALLORY, ALICE, BOB = Caller("mallory"), Caller("alice"), Caller("bob", weight=2.0)


class Workshop:
    """Threads whose work lasts until it is let go; notes what began, in order."""

    def __init__(self, threads: FairThreads, clock: ManualClock) -> None:
        self.threads = threads
        self.clock = clock
        self.began: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._gates: dict[str, threading.Event] = {}

    async def ask(self, name: str, caller: Caller, size_bytes: int) -> asyncio.Task[None]:
        """Have something worked on."""
        self._gates[name] = threading.Event()
        task = asyncio.create_task(self.threads.run(caller, size_bytes, self._work, name))
        self.tasks.append(task)
        await asyncio.sleep(0)
        return task

    async def until_begun(self, count: int) -> list[str]:
        """What has begun, once it is so many."""
        while len(self.began) < count:
            await asyncio.sleep(0.001)
        return self.began

    def let_go(self, *names: str) -> None:
        """End it."""
        for name in names:
            self._gates[name].set()

    async def order(self) -> list[str]:
        """Let all go one after another, as they begin; what began in which order."""
        for number in range(len(self.tasks)):
            self.let_go((await self.until_begun(number + 1))[number])
        await asyncio.gather(*self.tasks)
        return self.began

    def _work(self, name: str) -> None:
        self.began.append(name)
        self._gates[name].wait(30)


@asynccontextmanager
async def workshop(count: int = 2, room_bytes: int = 1024 * MIB) -> AsyncIterator[Workshop]:
    clock = ManualClock()
    with ThreadPoolExecutor(count) as pool:
        made = Workshop(FairThreads(pool, count, SharedRoom(room_bytes), clock), clock)
        try:
            yield made
        finally:
            made.let_go(*made._gates)


async def test_a_tenant_s_many_do_not_delay_another_s_one() -> None:
    async with workshop() as shop:
        for number in range(10):
            await shop.ask(f"m{number}", MALLORY, 100_000)
        await shop.until_begun(2)
        await shop.ask("alice", ALICE, 100_000)
        assert (await shop.order())[2] == "alice"


async def test_long_work_leaves_a_thread() -> None:
    """Eight prompts of 7 MB in the threads; one of 40 kB does not wait for any."""
    async with workshop(count=3) as shop:
        for number in range(8):
            await shop.ask(f"m{number}", MALLORY, 7 * MIB)
        assert await shop.until_begun(2) == ["m0", "m1"]
        await shop.ask("alice", ALICE, 40_000)
        assert await shop.until_begun(3) == ["m0", "m1", "alice"]
        await shop.ask("mallory's own", MALLORY, 40_000)
        shop.let_go("alice")
        assert (await shop.until_begun(4))[3] == "mallory's own"
        await shop.order()


async def test_turns_go_by_bytes_and_weight() -> None:
    """After as many bytes of each, the heavier tenant has had twice as much."""
    async with workshop(count=2) as shop:
        await shop.ask("long", MALLORY, LONG_BYTES + 1)
        await shop.ask("first", MALLORY, 100)
        for number in range(6):
            await shop.ask(f"a{number}", ALICE, 10_000)
            await shop.ask(f"b{number}", BOB, 10_000)
        order = [name for name in await shop.order() if name[0] in "ab"]
        assert sum(name.startswith("b") for name in order[:6]) == 4


async def test_short_goes_before_long_but_not_for_ever() -> None:
    async with workshop(count=2) as shop:
        await shop.ask("one", MALLORY, 100)
        await shop.ask("two", MALLORY, 100)
        await shop.ask("long", MALLORY, 200_000)
        await shop.ask("short", MALLORY, 1_000)
        shop.clock.advance(3_000)
        await shop.ask("late", MALLORY, 1_000)
        assert (await shop.order())[2:] == ["short", "long", "late"]


async def test_who_leaves_gives_back_and_is_not_worked_for() -> None:
    async with workshop(count=2) as shop:
        await shop.ask("one", MALLORY, 100)
        await shop.ask("two", MALLORY, 100)
        left = await shop.ask("left", MALLORY, 1_000)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        assert shop.threads.held_bytes == 200
        shop.let_go("one", "two")
        await asyncio.gather(*shop.tasks, return_exceptions=True)
        assert shop.began == ["one", "two"]
        assert shop.threads.held_bytes == 0


async def test_what_runs_is_held_until_its_end_though_nobody_waits() -> None:
    async with workshop(count=2) as shop:
        left = await shop.ask("left", MALLORY, 1_000)
        await shop.until_begun(1)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        assert shop.threads.held_bytes == 1_000
        shop.let_go("left")
        while shop.threads.held_bytes:
            await asyncio.sleep(0.001)


async def test_too_much_is_refused_and_others_are_not() -> None:
    async with workshop(count=2, room_bytes=10 * MIB) as shop:
        await shop.ask("held", MALLORY, 7 * MIB)
        refused = await shop.ask("refused", MALLORY, 2 * MIB)
        with pytest.raises(RenderingFull) as caught:
            await refused
        assert caught.value.retry_after_ms
        shop.tasks.remove(refused)
        await shop.ask("alice", ALICE, 100_000)
        assert await shop.order() == ["held", "alice"]


async def test_what_work_raises_comes_back() -> None:
    def fail() -> None:
        raise ValueError("a fault")

    async with workshop() as shop:
        with pytest.raises(ValueError, match="a fault"):
            await shop.threads.run(ALICE, 1, fail)
        assert shop.threads.held_bytes == 0
