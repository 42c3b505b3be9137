"""A random life of a mesh, from a seed."""

import contextlib

from services.common.domain import FailureKind, Role, ServiceClass
from services.common.errors import OperationRefused, WorkerNotFound
from services.router.core.events import Activate, Drain, Forgive, SetLocalThreshold, SetRole, StandBy
from tests.sim.invariants import check
from tests.sim.random_scaling import RandomScaling
from tests.sim.worker import SimWorker
from tests.sim.world import World

BUSY_MS, REST_MS = 20_000.0, 30_000.0


def break_of(world: World) -> str:
    """Play a fresh world's seed to rest; what broke, or an empty string."""
    try:
        _Scenario(world).play()
        world.run(BUSY_MS)
        world.stop_canaries()
        world.run_to_rest(REST_MS)
        check(world)
    except Exception as failure:  # whatever it is, it is the seed's finding
        return repr(failure)
    return ""


class _Scenario:
    def __init__(self, world: World) -> None:
        self.world, self.random = world, world.random
        self.can_replay = self.random.random() < 0.5
        self.scaling = RandomScaling.of(world)
        self.gateways = [world.add_gateway() for _ in range(self.random.randint(1, 3))]

    def play(self) -> None:
        for role, most in ((Role.PREFILL, 3), (Role.DECODE, 3), (Role.BOTH, 1)):
            for _ in range(self.random.randint(0 if role is Role.BOTH else 1, most)):
                self._add_worker(role)
        for _ in range(self.random.randint(10, 80)):
            self.world.at(self.random.uniform(0, BUSY_MS * 0.8), self._submit)
        for _ in range(self.random.choice([0, 0, 2, 8])):
            self.world.at(self.random.uniform(0, BUSY_MS), self._fault)
        if self.random.random() < 0.1:
            self.world.at(self.random.uniform(0, BUSY_MS), self.world.jump_clock)
        for _ in range(self.random.choice([0, 0, 5])):
            self.world.at(self.random.uniform(0, BUSY_MS), self._order)
        if self.random.random() < 0.1:
            self.world.at(self.random.uniform(BUSY_MS * 0.2, BUSY_MS * 0.8), self._lose_all)
        if self.scaling is not None:
            self.scaling.begin()

    def _order(self) -> None:
        """An operator interferes; what a core refuses, it must refuse without harm."""
        if not self.world.workers:
            return
        worker_id = self.random.choice(list(self.world.workers.values())).registration.worker_id
        orders = [
            Drain(worker_id),
            StandBy(worker_id),
            Forgive(),
            SetLocalThreshold(self.random.randint(0, 200)),
        ]
        orders += [SetRole(worker_id, role) for role in Role]
        with contextlib.suppress(OperationRefused):
            self.world.feed(self.random.choice(orders))
        self.world.at(self.random.uniform(100, 3_000), lambda: self._undo(worker_id))

    def _undo(self, worker_id: str) -> None:
        with contextlib.suppress(OperationRefused, WorkerNotFound):
            self.world.feed(Activate(worker_id))

    def _lose_all(self) -> None:
        for worker in list(self.world.workers.values()):
            worker.die()

    def _add_worker(self, role: Role) -> None:
        worker = self.world.add_worker(
            role,
            kv_blocks=self.random.choice([30, 70, 400]),
            max_running_requests=self.random.choice([2, 8, 64]),
            can_replay=self.can_replay,
            adapters=self.random.choice([(), ("style",), ("style", "tone")]),
        )
        worker.faults.slow = self.random.choice([1.0, 1.0, 3.0])
        worker.faults.repeats_news = self.random.random() < 0.2
        worker.faults.late_kv_events_ms = self.random.choice([0.0, 0.0, 500.0])

    def _submit(self) -> None:
        more: dict[str, object] = {}
        if self.random.random() < 0.1:
            more["seed"] = 1
        if self.random.random() < 0.2:
            more["logprobs"] = self.random.choice([0, 1, 3])
        if self.random.random() < 0.1:
            more["lora"] = self.random.choice(["style", "tone"])
        if self.random.random() < 0.05:
            more["strict_disaggregation"] = True
        if self.random.random() < 0.1:
            more["deadline_ms"] = self.random.randint(50, 2_000)
        more["tenant"] = self.random.choice(["a", "b", "c"])
        more["service_class"] = self.random.choice(list(ServiceClass))
        caller = self.world.submit(
            self.random.choice(self.gateways),
            self.random.choice([3, 16, 17, 100, 500]),
            self._length(),
            **more,
        )
        if self.random.random() < 0.2:
            self.world.at(self.random.uniform(0, 1_500), lambda: self.world.cancel(caller))

    def _length(self) -> int:
        return self.random.choice([1, 2, 20, 60])

    def _fault(self) -> None:
        if not self.world.workers:
            return
        worker = self.random.choice(list(self.world.workers.values()))
        kind = self.random.randrange(8)
        if kind in (0, 1):
            worker.die()
            if self.random.random() < 0.7:
                after_ms = self.random.uniform(100, 3_000)
                self.world.at(after_ms, lambda: self._add_worker(worker.registration.role))
        elif kind == 2:
            self._for_a_while(worker, "offer_never", True, False)
        elif kind == 3:
            self._for_a_while(worker, "adopt_fails", True, False)
        elif kind == 4:
            self._for_a_while(worker, "adopt_never", True, False)
        elif kind == 5:
            self._for_a_while(
                worker, "job_fails", self.random.choice([FailureKind.ENGINE, FailureKind.LEAVING]), None
            )
        elif kind == 6:
            self._stick(worker)
        elif len(self.gateways) > 1:
            self.world.lose_gateway(self.gateways.pop())

    def _stick(self, worker: SimWorker) -> None:
        """Nothing more comes from it: a link loses nothing, so it can only end by dying."""
        worker.faults.stuck = True
        after_ms = self.random.uniform(500, 6_000)
        self.world.at(after_ms, lambda: worker.die() if worker.alive else None)
        self.world.at(after_ms + 100, lambda: self._add_worker(worker.registration.role))

    def _for_a_while(self, worker: SimWorker, name: str, value: object, after: object) -> None:
        setattr(worker.faults, name, value)
        self.world.at(2_000.0, lambda: setattr(worker.faults, name, after))
