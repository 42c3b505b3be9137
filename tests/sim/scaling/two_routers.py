"""Two routers that share every worker, each the whole core in a world of its own, in one virtual time.

A worker grants half of itself to each, and all to the one that is left. Reports cross twice a second, and the
right to decide is a lease, as through Redis.
"""

from dataclasses import replace
from itertools import count

from services.common.domain import Capacity, Fingerprint, FinishReason, Grant, Registration, Role
from services.common.domain.tokens import tokens
from services.router.core.events import (
    RoutersSeen,
    ScalerAttached,
    Submitted,
    WorkerAttached,
    WorkerGrant,
)
from services.router.core.scaling.reports import RouterReport
from services.router.core.scaling.rules import ScalingConfig, TierRules
from tests.sim.worker import SimWorker
from tests.sim.world import CONFIG, Caller, World

STEP_MS, EXCHANGE_MS, ALIVE_MS, LEASE_MS = 50.0, 500.0, 1_250.0, 1_500.0
SUPERVISOR = 900
SEATS, BLOCKS = 8, 2_000
SLOW = 40.0
"""So many times slower than usual workers are, so that a request holds its seat for seconds."""


class TwoRouters:
    """The worlds, and what lies between them. `run` lets time pass."""

    def __init__(self, seed: int, rules: TierRules, cold_ms: float) -> None:
        config = ScalingConfig(prefill=rules, decode=rules, acts=True, rebalances=False)
        core = replace(CONFIG, scaling=config, canary_interval_ms=0, stall_timeout_ms=60_000)
        self.worlds = [World(seed * 2 + i, core) for i in range(2)]
        self.living = [0, 1]
        self.holder: int | None = 0
        self.is_cut = False
        """Whether neither sees anything of the store."""
        self.cold_ms, self.now_ms = cold_ms, 0.0
        self.ended: list[str] = []
        self.desired: list[tuple[float, int, int]] = []
        """When, which router, how many decode workers it wants, each tenth of a second."""
        self._gateways = [world.add_gateway() for world in self.worlds]
        self._posted: dict[int, tuple[float, RouterReport]] = {}
        self._lease_ends_ms = 0.0
        self._coming: list[tuple[float, str]] = []
        self._names = (f"decode-{number}" for number in count(1))
        for world in self.worlds:
            world.feed(RoutersSeen())
            world.feed(ScalerAttached(SUPERVISOR))

    @property
    def callers(self) -> list[Caller]:
        """All that were asked and not taken over by the other router."""
        callers = (caller for world in self.worlds for caller in world.callers.values())
        return [caller for caller in callers if not caller.orphaned]

    def start(self, number: int) -> None:
        """Begin with so many decode workers."""
        for _ in range(number):
            self._attach(next(self._names))

    def load(self, router: int, gap_ms: float, until_ms: float, answer: int = 20) -> None:
        """A request every so often, at one router, or at the other once that is gone."""

        def submit() -> None:
            self._world(router).submit(self._gateways[self._index(router)], 10, answer)
            if self.now_ms + gap_ms < until_ms:
                self._world(router).at(gap_ms, submit)

        self._world(router).at(gap_ms, submit)

    def run(self, for_ms: float) -> None:
        """Let time pass."""
        until_ms = self.now_ms + for_ms
        while self.now_ms < until_ms:
            self.now_ms += STEP_MS
            for i in self.living:
                self.worlds[i].run(self.now_ms)
            if self.now_ms % EXCHANGE_MS == 0 and not self.is_cut:
                self._exchange()
            if self.now_ms % 100.0 == 0:
                self._supervise()
                self.desired += [(self.now_ms, i, self.wanted(i)) for i in self.living]

    def kill(self, router: int) -> None:
        """One router dies; what it had goes on at the other at once, and workers grant that all they have."""
        self.living.remove(router)
        dead, world = self.worlds[router], self.worlds[self.living[0]]
        for worker in world.workers.values():
            world.feed(WorkerGrant(worker.session, Grant(2, SEATS, BLOCKS)))
        for stream, ((_, _), caller) in enumerate(list(dead.callers.items()), 1_000_000):
            if not caller.outcomes:
                caller.orphaned = True
                request = replace(caller.request, delivered=tokens(caller.got), resubmitted=True)
                gateway = self._gateways[self.living[0]]
                world.callers[gateway, stream] = Caller(request, gateway, list(caller.got))
                world.feed(Submitted(gateway, stream, request))

    def wanted(self, router: int) -> int:
        """Decode workers that a router says there should be."""
        watched = self.worlds[router].core.scaling.tiers.get(("m", Role.DECODE))
        return watched.decision.desired if watched is not None and watched.decision is not None else 0

    def deciders(self) -> list[int]:
        """Who decides at this moment."""
        return [i for i in self.living if self.worlds[i].core.scaling.decides(self.now_ms)]

    def _index(self, router: int) -> int:
        return router if router in self.living else self.living[0]

    def _world(self, router: int) -> World:
        return self.worlds[self._index(router)]

    def _exchange(self) -> None:
        for i in self.living:
            report = self.worlds[i].core.scaling.report(f"run-{i}", f"router-{i}", self.now_ms)
            self._posted[i] = self.now_ms, report
        for i in self.living:
            if self.holder == i or self.now_ms >= self._lease_ends_ms:
                self.holder, self._lease_ends_ms = i, self.now_ms + LEASE_MS
            told = {j: r for j, (at, r) in self._posted.items() if j != i and self.now_ms - at < ALIVE_MS}
            until_ms = self._lease_ends_ms if self.holder == i else float("-inf")
            self.worlds[i].feed(RoutersSeen(tuple(told.values()), f"run-{self.holder}", until_ms))

    def _supervise(self) -> None:
        """End and start workers by the word of the one that decides, as `pdmesh up` does."""
        for name in [name for at_ms, name in self._coming if at_ms <= self.now_ms]:
            self._attach(name)
        self._coming = [(at_ms, name) for at_ms, name in self._coming if at_ms > self.now_ms]
        for i in self.deciders():
            scaling = self.worlds[i].core.scaling
            for name in [worker.worker_id for worker in scaling.stoppable()]:
                self._end(name)
            if (watched := scaling.tiers.get(("m", Role.DECODE))) and watched.decision is not None:
                there = scaling.attached("m", Role.DECODE) + len(self._coming)
                for _ in range(watched.decision.replicas - there):
                    self._coming.append((self.now_ms + self.cold_ms, next(self._names)))

    def _attach(self, name: str) -> None:
        prints = Fingerprint("m", "d", "f32", "f32", 16, 1, "sim", "1", "sim")
        shape = Registration(
            name, Role.DECODE, prints, Capacity(BLOCKS, 1_000, SEATS, 512, 1_000), is_shared=True
        )
        for i in self.living:
            world, share = self.worlds[i], len(self.living)
            worker = SimWorker(world, next(world._sessions), shape)
            worker.faults.slow = SLOW
            world.workers[worker.session] = worker
            world.feed(WorkerAttached(worker.session, shape))
            world.feed(WorkerGrant(worker.session, Grant(1, SEATS // share, BLOCKS // share)))

    def _end(self, name: str) -> None:
        self.ended.append(name)
        for i in self.living:
            for worker in [w for w in self.worlds[i].workers.values() if w.registration.worker_id == name]:
                worker.die()


def faults(callers: list[Caller]) -> list[str]:
    """What is wrong with any answer."""
    ends = [caller.outcomes[0] if caller.outcomes else None for caller in callers]
    return [f"{end}" for end in ends if end is None or end.reason is not FinishReason.LENGTH]
