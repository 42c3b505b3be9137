"""A scaler that acts in some seeds' lives, a supervisor that comes, goes, and ends what may end, and in some
of these lives another router, which decides now and then and makes of the workers what it likes.
"""

import random
from dataclasses import dataclass
from functools import partial

from services.common.domain import Role
from services.router.core.events import RoutersSeen, ScalerAttached, ScalerDetached
from services.router.core.scaling.reports import RouterReport, Standing, TierReport, WorkerReport
from services.router.core.scaling.rules import ScalingConfig, TierRules
from tests.sim.world import World

SHARE, SHARE_OF_TWO = 0.3, 0.5
OTHER, ROLES = "other", (Role.PREFILL, Role.DECODE)
SUPERVISOR = 1_000_000
"""A session that nobody else gets."""


@dataclass
class RandomScaling:
    """Everything from a chance of its own, so that lives without a scaler stay what they were."""

    world: World
    random: random.Random

    @classmethod
    def of(cls, world: World) -> "RandomScaling | None":
        """For a share of the worlds."""
        chance = random.Random(world.random.getstate()[1][0])
        return cls(world, chance) if chance.random() < SHARE else None

    def begin(self) -> None:
        """Let the core scale, with little patience, under a supervisor."""
        config = ScalingConfig(self._rules(), self._rules(), acts=True, interval_ms=200.0, starve_ms=500.0)
        self.world.core.scaling.config = config
        self.world.at(self.random.uniform(0, 2_000), self._supervise)
        if self.random.random() < SHARE_OF_TWO:
            self.world.at(self.random.uniform(0, 4_000), self._meet)

    def _meet(self) -> None:
        """News of another router, or none any more; at times both come too late for it to count."""
        now_ms, decides = self.world.now_ms, self.random.random() < 0.5
        other = self._other() if self.random.random() < 0.8 else ()
        until_ms = now_ms + self.random.uniform(0, 3_000) if decides or not other else 0.0
        self.world.feed(RoutersSeen(other, "" if decides else OTHER, until_ms))
        self.world.at(self.random.uniform(100, 3_000), self._meet)

    def _other(self) -> tuple[RouterReport, ...]:
        chance = self.random
        workers = tuple(
            WorkerReport(worker.registration.worker_id, chance.choice(list(Standing)), chance.choice(ROLES))
            for worker in self.world.workers.values()
            if chance.random() < 0.7
        )
        counts = [chance.randrange(20) for _ in range(4)]
        tiers = tuple(TierReport("m", role, *counts, desired=chance.randint(0, 4)) for role in ROLES)
        return (RouterReport(OTHER, OTHER, tiers, workers),)

    def _rules(self) -> TierRules:
        return TierRules(
            replicas_max=self.random.randint(1, 4),
            spares=self.random.randint(0, 2),
            down_cooldown_ms=self.random.choice([0.0, 500.0, 3_000.0]),
            down_interval_ms=200.0,
            rate_window_ms=200.0,
            cold_start_ms=1_000.0,
        )

    def _supervise(self) -> None:
        self.world.feed(ScalerAttached(SUPERVISOR))
        self._obey()
        for event, until_ms in ((ScalerDetached(SUPERVISOR), 8_000), (ScalerAttached(SUPERVISOR), 16_000)):
            after_ms = self.random.uniform(until_ms - 7_500, until_ms)
            self.world.at(after_ms, partial(self.world.feed, event))

    def _obey(self) -> None:
        """End what may end, and start what lacks, some time later."""
        scaling = self.world.core.scaling
        for worker in scaling.stoppable():
            if self.random.random() < 0.5 and worker.session in self.world.workers:
                self.world.workers[worker.session].die()
        for (_, tier), watched in scaling.tiers.items():
            wanted = watched.decision.replicas if watched.decision is not None else 0
            if wanted > watched.signal.attached and self.random.random() < 0.2:
                self._start(tier)
        self.world.at(200.0, self._obey)

    def _start(self, tier: Role) -> None:
        if len(self.world.workers) < 12:
            self.world.add_worker(tier, max_running_requests=self.random.choice([2, 8]), can_replay=True)
