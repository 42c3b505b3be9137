"""Who scales the fleet: one router at a time, by a lease and by what routers post."""

import asyncio
from dataclasses import replace

import pytest

from services.common.clock import ManualClock
from services.common.domain import Role
from services.common.errors import StoreUnavailable
from services.common.store.memory import MemoryStore
from services.router.board import ALIVE_MS, INTERVAL_S, PATIENCE_MS, ROSTER, Board
from services.router.core.events import RoutersSeen
from services.router.core.scaling.demand import TierDemand
from services.router.core.scaling.reports import RouterReport, Standing, TierReport, WorkerReport
from services.router.lease import TTL_MS, Lease
from services.router.notes import QueueNote, RouterNote


class Away(MemoryStore):
    """A store that can be out of reach."""

    is_away = False

    async def set(self, key: str, value: bytes, ttl_ms: int) -> None:
        if self.is_away:
            raise StoreUnavailable("away")
        await super().set(key, value, ttl_ms)


class Site:
    """Routers at one store, whose exchanges happen when the test says so."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = Away(self.clock)
        self.seen: dict[str, RoutersSeen] = {}
        self.boards: dict[str, Board] = {}

    def add(self, name: str) -> None:
        note = RouterNote(name, 0, (), RouterReport(f"{name}/1", name))
        lease = Lease(self.store, f"{name}/1", self.clock)

        def saw(seen: RoutersSeen) -> None:
            self.seen[name] = seen

        self.boards[name] = Board(self.store, lambda: note, lease, self.clock, saw)

    async def exchange(self, *names: str, times: int = 1) -> None:
        """These routers live for so many intervals more."""
        for _ in range(times):
            for name in names:
                await self.boards[name].exchange()
            self.clock.advance(INTERVAL_S * 1e3)

    def deciders(self) -> list[str]:
        now_ms = self.clock.now_ms()
        return [name for name, seen in self.seen.items() if now_ms < seen.decides_until_ms]


@pytest.fixture
def site() -> Site:
    site = Site()
    site.add("a")
    site.add("b")
    return site


async def test_one_decides_and_the_others_know_who(site):
    await site.exchange("a", "b", times=5)
    assert site.deciders() == ["a"]
    assert site.seen["b"].decider == "a/1"
    assert [report.router_id for report in site.seen["b"].reports] == ["a"]


async def test_a_dead_ones_right_is_free_within_two_seconds_and_its_work_no_longer_counts(site):
    await site.exchange("a", "b", times=10)
    await site.exchange("b", times=2)
    assert site.seen["b"].reports, "it might only be late"
    await site.exchange("b", times=2)
    assert site.deciders() == ["b"]
    assert site.seen["b"].reports == ()
    assert max(TTL_MS, ALIVE_MS) <= 1_500


async def test_who_leaves_gives_the_right_away_at_once_and_for_good(site):
    await site.exchange("a", "b", times=10)
    await site.boards["a"].leave()
    assert site.deciders() == []
    await site.exchange("b", "a")
    assert site.deciders() == ["b"]
    await site.exchange("a", times=10)
    assert site.deciders() == []


async def test_a_newcomer_leaves_it_to_others_for_a_while(site):
    await site.exchange("a", "b", times=10)
    site.add("c")
    await site.boards["a"].leave()
    await site.exchange("c")
    assert site.deciders() == []
    await site.exchange("b", "c")
    assert site.deciders() == ["b"]
    await site.exchange("c", times=int(PATIENCE_MS / INTERVAL_S / 1e3) + 3)
    assert site.deciders() == ["c"]


async def test_without_the_store_nobody_decides_unless_it_was_alone(site):
    await site.exchange("a", "b", times=5)
    site.store.is_away = True
    await site.exchange("a", "b", times=4)
    assert site.deciders() == []
    site.store.is_away = False
    await site.exchange("a", "b", times=5)
    assert len(site.deciders()) == 1


async def test_who_was_alone_goes_on_without_the_store():
    site = Site()
    site.add("a")
    await site.exchange("a", times=3)
    site.store.is_away = True
    await site.exchange("a", times=20)
    assert site.deciders() == ["a"]
    site.store.is_away = False
    await site.exchange("a", times=5)
    assert site.deciders() == ["a"]


async def test_the_holder_counts_the_time_from_before_it_asked(site):
    lease = Lease(site.store, "x", site.clock)
    asked_ms = site.clock.now_ms()
    await lease.renew(may_claim=True)
    assert asked_ms < lease.until_ms < asked_ms + TTL_MS
    other = Lease(site.store, "y", site.clock)
    assert await other.renew(may_claim=True) == "x"
    site.clock.advance(TTL_MS)
    assert await other.renew(may_claim=False) == ""
    assert await other.renew(may_claim=True) == "y"
    assert await lease.renew(may_claim=True) == "y"
    assert lease.until_ms < 0.0


def test_a_note_comes_back_as_it_was_posted():
    tier = TierReport("m", Role.PREFILL, 1, 2, 3, 4, ("p",), TierDemand(5, 6, 7), 8)
    worker = WorkerReport("p", Standing.RETIRES, Role.DECODE)
    report = RouterReport("a/1", "a", (tier,), (worker,))
    note = RouterNote("a", 1, (QueueNote("m", Role.DECODE, 1, 2, 3.0, 4),), report, 9)
    assert RouterNote.from_bytes(note.to_bytes()) == note
    assert RouterNote.from_bytes(replace(note, scaling=None).to_bytes()) == replace(note, scaling=None)
    assert RouterNote.from_bytes(note.to_bytes().replace(b"retires", b"rests")) is None


async def test_a_board_runs_until_it_is_cancelled_and_takes_its_note_down(site):
    running = asyncio.create_task(site.boards["a"].run())
    while not await site.store.members(ROSTER):
        await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.wait([running])
    assert await site.store.members(ROSTER) == []


async def test_who_decides_renews_before_anything_else(site):
    await site.exchange("a", times=10)
    assert site.deciders() == ["a"]
    done: list[str] = []

    class Watched(Away):
        async def set(self, key: str, value: bytes, ttl_ms: int) -> None:
            done.append("set")

        async def claim(self, key: str, value: bytes, ttl_ms: int) -> bytes:
            done.append("claim")
            return value

    board = site.boards["a"]
    board._store = board._lease._store = Watched(site.clock)
    await site.exchange("a")
    assert done == ["claim", "set"]
