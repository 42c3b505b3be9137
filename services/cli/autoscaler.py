"""Starts and ends worker processes on this host as the router's scaler decides."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from pdmesh.operator.v1 import operator_pb2 as wire
from services.cli.operator.client import OperatorClient
from services.cli.supervisor import Supervisor
from services.cli.worker_specs import WorkerSpecs
from services.common.clock import Clock
from services.common.domain import Role
from services.common.errors import MeshError

log = logging.getLogger("pdmesh.up")

RETRY_S = 0.5
"""Before the router is asked again after it was lost."""
FAILED_START_MS = 60_000.0
"""A tier whose new worker could not start gets no other for this long."""


class Autoscaler:
    """Listens to every router and obeys the one that decides; `run` ends with its task."""

    def __init__(
        self,
        connects: Sequence[Callable[[], OperatorClient]],
        supervisor: Supervisor,
        specs: WorkerSpecs,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        self._connects, self._supervisor, self._specs = connects, supervisor, specs
        self._clock, self._say = clock, say
        self._paused_until_ms: dict[str, float] = {}
        supervisor.on_lost = self._lost

    async def run(self) -> None:
        """Do as the routers say, for ever; a router that is away changes nothing."""
        async with asyncio.TaskGroup() as tasks:
            for connect in self._connects:
                tasks.create_task(self._listen(connect))

    async def _listen(self, connect: Callable[[], OperatorClient]) -> None:
        while True:
            with contextlib.suppress(MeshError):
                async with connect() as client, contextlib.aclosing(client.watch_scaling()) as told:
                    async for news in told:
                        self.obey(news)
            await asyncio.sleep(RETRY_S)

    def obey(self, news: wire.WatchScalingResponse) -> None:
        """Start what lacks and end what may end, if it is the one that decides who says so."""
        if news.follows:
            return
        for worker_id in news.stoppable_workers:
            if self._supervisor.retire(worker_id):
                self._say(f"{worker_id} is drained and not needed: ending it")
        for tier in news.tiers:
            self._grow(tier, set(news.known_workers))

    def _grow(self, wanted: wire.TierScaling, known: set[str]) -> None:
        """Ours that the router does not know yet are on their way, those that crashed included."""
        role = Role(wanted.role).name.lower()
        coming = len(set(self._supervisor.members(role)) - known)
        lacking = wanted.desired_workers + wanted.desired_spares - wanted.attached_workers - coming
        if self._clock.now_ms() < self._paused_until_ms.get(role, float("-inf")):
            return
        for _ in range(lacking):
            spec = self._specs.new(role, self._supervisor.specs, standby=wanted.desired_spares > 0)
            self._say(f"{spec.name}: starting, {wanted.desired_workers} {role} workers are wanted")
            self._supervisor.add(spec)

    def _lost(self, name: str, why: str) -> None:
        """A worker that was started here has given up."""
        self._paused_until_ms[name.partition("-")[0]] = self._clock.now_ms() + FAILED_START_MS
        self._say(f"{name} is given up ({why}); no other for {FAILED_START_MS / 1e3:.0f} s")
