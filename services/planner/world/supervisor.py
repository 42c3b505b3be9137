"""What starts and ends a virtual fleet's workers: by the scaler's word after a cold start, or death."""

from services.common.domain import Role
from services.planner.world.fleet import MODEL, FleetWorld
from services.router.core.events import ScalerAttached

SUPERVISE_MS = 200.0
SUPERVISOR = -1
"""A session that no worker or gateway has."""
TIERS = (Role.PREFILL, Role.DECODE)


class Supervisor:
    """Obeys the core's scaler."""

    def __init__(self, world: FleetWorld, cold_start_ms: float) -> None:
        self._world, self._cold_start_ms = world, cold_start_ms
        self._coming = dict.fromkeys(TIERS, 0)
        world.feed(ScalerAttached(SUPERVISOR))
        world.at(0.0, self._supervise)

    def _supervise(self) -> None:
        world = self._world
        scaling = world.core.scaling
        for worker in list(scaling.steward.stoppable()):
            if worker.session in world.workers:
                world.workers[worker.session].leave()
        for (_, tier), watched in scaling.tiers.items():
            if watched.decision is not None and tier in self._coming:
                there = scaling.attached(MODEL, tier) + self._coming[tier]
                for _ in range(watched.decision.replicas - there):
                    self._start(tier, standby=watched.decision.spares > 0)
        world.at(SUPERVISE_MS, self._supervise)

    def _start(self, tier: Role, *, standby: bool) -> None:
        self._coming[tier] += 1

        def loaded() -> None:
            self._coming[tier] -= 1
            self._world.add_worker(tier, standby=standby)

        self._world.at(self._cold_start_ms, loaded)


def kill_one(world: FleetWorld, role: Role, cold_start_ms: float | None) -> None:
    """The oldest worker of a role dies; another comes after a cold start, unless that is None."""
    victim = next((w for w in world.workers.values() if w.registration.role is role), None)
    if victim is None:
        return
    victim.die()
    if cold_start_ms is not None:
        world.at(cold_start_ms, lambda: _replace(world, role))


def _replace(world: FleetWorld, role: Role) -> None:
    world.add_worker(role)
