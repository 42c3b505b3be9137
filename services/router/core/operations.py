"""Operations: what an operator or the scaler does to the fleet. A role flip drains first."""

from collections import deque

from services.common.domain import Role
from services.common.errors import InvalidField, OperationRefused, WorkerNotFound
from services.router.core.actions import Announce, SendModels
from services.router.core.events import (
    Activate,
    Drain,
    FleetOrder,
    Forgive,
    SetLocalThreshold,
    SetRole,
    StandBy,
    Undrain,
)
from services.router.core.fleet import Worker, WorkerState
from services.router.core.models import served_models
from services.router.core.state import State

HOUR_MS = 3_600_000.0


class Operations:
    """Carries out orders. Each raises WorkerNotFound or OperationRefused with nothing changed."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._flips_ms: deque[float] = deque()
        self._flipping: dict[int, Worker] = {}

    def carry_out(self, order: FleetOrder, now_ms: float) -> None:
        """Do what is ordered."""
        match order:
            case Drain(worker_id):
                self._set_state(self._worker(worker_id), WorkerState.DRAINING)
            case Undrain(worker_id) | Activate(worker_id):
                self._resume(self._worker(worker_id))
            case StandBy(worker_id):
                self._set_state(self._worker(worker_id), WorkerState.STANDBY)
            case SetRole(worker_id, role):
                self._set_role(self._worker(worker_id), role, now_ms)
            case SetLocalThreshold(tokens):
                if tokens < 0:
                    raise InvalidField("a threshold is not negative", field="local_prompt_tokens_max")
                self._state.policies.path.set_local_tokens_max(tokens)
            case Forgive():
                self._forgive()

    def settle(self, now_ms: float) -> None:
        """Complete the flips whose workers have become empty."""
        for worker in list(self._flipping.values()):
            if worker.pool is None:
                del self._flipping[worker.session]
            elif worker.is_empty and worker.flips_to is not None:
                del self._flipping[worker.session]
                worker.role, worker.flips_to, worker.role_since_ms = worker.flips_to, None, now_ms
                self._fleet_changed(worker)

    def _worker(self, worker_id: str) -> Worker:
        for worker in self._state.fleet.workers.values():
            if worker.worker_id == worker_id:
                return worker
        raise WorkerNotFound(f"no worker named '{worker_id}' is attached", field="worker_id")

    def _set_state(self, worker: Worker, state: WorkerState) -> None:
        worker.state = state
        self._fleet_changed(worker)

    def _resume(self, worker: Worker) -> None:
        if worker.leaves:
            raise OperationRefused(f"{worker.worker_id} is shutting down")
        self._set_state(worker, WorkerState.SERVING)

    def _set_role(self, worker: Worker, role: Role, now_ms: float) -> None:
        if role is worker.role and worker.flips_to is None:
            return
        self._refuse_flip(worker, now_ms)
        self._flips_ms.append(now_ms)
        worker.flips_to = role
        self._flipping[worker.session] = worker
        self._fleet_changed(worker)

    def _refuse_flip(self, worker: Worker, now_ms: float) -> None:
        config = self._state.config
        while self._flips_ms and now_ms - self._flips_ms[0] > HOUR_MS:
            self._flips_ms.popleft()
        dwelt_ms = now_ms - worker.role_since_ms
        if worker.registration.role_is_fixed:
            raise OperationRefused(f"{worker.worker_id} was started for one role only")
        if worker.flips_to is not None:
            raise OperationRefused(f"{worker.worker_id} is changing its role already")
        if dwelt_ms < config.role_dwell_ms_min:
            wait_ms = int(config.role_dwell_ms_min - dwelt_ms)
            held = f"{worker.worker_id} has had its role for {dwelt_ms / 1e3:.0f} s"
            least = f"the least is {config.role_dwell_ms_min / 1e3:.0f} s"
            raise OperationRefused(f"{held}, {least}", retry_after_ms=wait_ms)
        if len(self._flips_ms) >= config.role_flips_per_hour_max:
            oldest_ms = self._flips_ms[0] if self._flips_ms else now_ms
            wait_ms = int(oldest_ms + HOUR_MS - now_ms)
            raise OperationRefused(f"{len(self._flips_ms)} flips within an hour", retry_after_ms=wait_ms)

    def _forgive(self) -> None:
        forgiven = [*self._state.quarantine.release(), *(pair.title for pair in self._state.pairs.forgive())]
        self._state.ledger.expired = 0
        for worker in self._state.fleet.workers.values():
            if worker.breaker.release():
                forgiven.append(worker.title)
            self._state.room_changed(worker)
        for what in forgiven:
            self._state.do(Announce(what, is_shut_out=False, why="an operator forgave"))

    def _fleet_changed(self, worker: Worker) -> None:
        if worker.pool is not None:
            worker.pool.recount()
        self._state.room_changed(worker)
        self._state.do(SendModels(None, served_models(self._state)))
