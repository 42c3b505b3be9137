"""Threads for what takes long with a caller's text, in an order that is fair between tenants."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

from services.common.clock import Clock
from services.common.errors import RenderingFull
from services.gateway.shared_room import Holding, SharedRoom
from services.gateway.tenants import Caller

LONG_BYTES = 256 * 1024
"""Work on more than this is long: one thread is always left for what is not."""
BYTES_PER_MS = 100
"""Of one tenant's work, so much more text goes as far back as coming so much later: short before long, and
long ones all the same."""
TURNS_MAX = 1_024
"""Past so many tenants it is forgotten who has had what, unless it still counts."""
RETRY_AFTER_MS = 1_000

T = TypeVar("T")

_rank = attrgetter("rank")


@dataclass(slots=True, eq=False)
class Job:
    """One piece of work that waits for a thread."""

    rank: float
    """Among its tenant's, the lowest goes first."""
    caller: Caller
    size_bytes: int
    work: Callable[[], Any]
    holding: Holding
    future: "asyncio.Future[Any]"
    is_begun: bool = False

    @property
    def is_long(self) -> bool:
        """Whether it may not take the last thread."""
        return self.size_bytes > LONG_BYTES


class FairThreads:
    """Runs work whose time grows with the size of a text.

    Tenants take turns by the bytes that they have had worked on (start-time fair queueing, by their weights):
    whoever has had little goes next. What all hold together has a bound, and what one tenant may hold of it.
    """

    def __init__(self, pool: ThreadPoolExecutor, count: int, room: SharedRoom, clock: Clock) -> None:
        """`count` is how many threads the pool has; two at least."""
        self._pool = pool
        self._free = count
        self._long_free = count - 1
        self._room = room
        self._clock = clock
        self._waiting: dict[str, list[Job]] = {}
        self._turn: dict[str, float] = {}
        """By tenant that waits or has run of late, the bytes after which it is its turn."""
        self._now = 0.0
        """The turn of the work that was begun last."""

    @property
    def held_bytes(self) -> int:
        """Texts that wait for a thread or are in one."""
        return self._room.held_bytes

    async def run(self, caller: Caller, size_bytes: int, work: Callable[..., T], *arguments: Any) -> T:
        """What the work returns or raises; it gets a thread when it is its turn.

        Raises `RenderingFull` where all, or this tenant, have too much here already.
        """
        holding = self._room.open(caller.tenant)
        if not holding.grow(size_bytes):
            raise RenderingFull(
                "this gateway has as many prompts in work as it may", retry_after_ms=RETRY_AFTER_MS
            )
        job = Job(
            rank=self._clock.now_ms() + size_bytes / BYTES_PER_MS,
            caller=caller,
            size_bytes=size_bytes,
            work=partial(work, *arguments),
            holding=holding,
            future=asyncio.get_running_loop().create_future(),
        )
        self._enqueue(job)
        self._begin_next()
        try:
            result: T = await job.future
        finally:
            if not job.is_begun:
                self._take_back(job)
        return result

    def _enqueue(self, job: Job) -> None:
        tenant = job.caller.tenant
        if tenant not in self._waiting:
            self._waiting[tenant] = []
            self._turn[tenant] = max(self._turn.get(tenant, 0.0), self._now)
        self._waiting[tenant].append(job)

    def _take_back(self, job: Job) -> None:
        """Its caller has left before it began."""
        self._remove(job)
        job.holding.release()

    def _begin_next(self) -> None:
        while self._free and (job := self._next()) is not None:
            self._remove(job)
            self._begin(job)

    def _next(self) -> Job | None:
        """The next job of the tenant whose turn it is; not a long one where it would take the last thread."""
        for tenant in sorted(self._waiting, key=self._turn.__getitem__):
            allowed = [job for job in self._waiting[tenant] if self._long_free or not job.is_long]
            if allowed:
                return min(allowed, key=_rank)
        return None

    def _remove(self, job: Job) -> None:
        jobs = self._waiting[job.caller.tenant]
        jobs.remove(job)
        if not jobs:
            del self._waiting[job.caller.tenant]

    def _begin(self, job: Job) -> None:
        job.is_begun = True
        tenant = job.caller.tenant
        self._now = self._turn[tenant]
        self._turn[tenant] = self._now + job.size_bytes / job.caller.weight
        self._forget_turns()
        self._free -= 1
        self._long_free -= job.is_long
        running = asyncio.get_running_loop().run_in_executor(self._pool, job.work)
        running.add_done_callback(partial(self._ended, job))

    def _forget_turns(self) -> None:
        """Whoever does not wait, and has had no more than the others, needs no remembering."""
        if len(self._turn) > TURNS_MAX:
            self._turn = {
                tenant: turn
                for tenant, turn in self._turn.items()
                if tenant in self._waiting or turn > self._now
            }

    def _ended(self, job: Job, running: "asyncio.Future[Any]") -> None:
        self._free += 1
        self._long_free += job.is_long
        job.holding.release()
        if not job.future.done():
            _pass_on(running, job.future)
        elif not running.cancelled():
            running.exception()  # nobody asks for it any more
        self._begin_next()


def _pass_on(running: "asyncio.Future[Any]", future: "asyncio.Future[Any]") -> None:
    if running.cancelled():
        future.cancel()
    elif (error := running.exception()) is not None:
        future.set_exception(error)
    else:
        future.set_result(running.result())
