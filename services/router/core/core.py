"""The core's one door."""

from array import array
from random import Random

from services.common.domain import Registration, Request
from services.common.errors import MeshError, RegistrationRefused
from services.router.core.actions import Action, RefuseWorker, SendModels
from services.router.core.budget import RetryBudget
from services.router.core.config import CoreConfig
from services.router.core.ending import Ending
from services.router.core.events import (
    Activate,
    CancelRequested,
    Drain,
    Event,
    Forgive,
    GatewayAttached,
    GatewayDetached,
    RoutersSeen,
    ScalerAttached,
    ScalerDetached,
    SetLocalThreshold,
    SetRole,
    StandBy,
    Submitted,
    Tick,
    Undrain,
    WorkerAttached,
    WorkerDetached,
    WorkerDraining,
    WorkerGrant,
    WorkerLoad,
    WorkerStep,
)
from services.router.core.explain import Explanation, explain
from services.router.core.fleet import Fleet, Worker
from services.router.core.intake import Intake
from services.router.core.models import served_models
from services.router.core.operations import Operations
from services.router.core.placement import Policies
from services.router.core.placing import Placing
from services.router.core.progress import Progress
from services.router.core.recovery import Recovery
from services.router.core.scaling.scaling import Scaling
from services.router.core.sentinel import Sentinel
from services.router.core.sharing import Sharing
from services.router.core.state import State
from services.router.core.timers import Timer, TimerKind

STALL_CHECK_MS = 250.0
"""Workers are looked through for stuck ones this often."""


class RouterCore:
    """The state machine. Not thread-safe; one event at a time."""

    def __init__(self, config: CoreConfig | None = None, policies: Policies | None = None) -> None:
        config = config or CoreConfig()
        self.state = State(
            config,
            Fleet(config),
            policies or Policies.of(config),
            RetryBudget(config.retry_budget_burst, config.retry_budget_per_request),
            random=Random(config.seed),
        )
        self._ending = Ending(self.state)
        self._placing = Placing(self.state, self._ending)
        self._recovery = Recovery(self.state, self._placing, self._ending)
        self._progress = Progress(self.state, self._placing, self._recovery, self._ending)
        self._stalls_checked_ms = -STALL_CHECK_MS
        self._sentinel = Sentinel(self.state, self._placing)
        self._operations = Operations(self.state)
        self._sharing = Sharing(self.state)
        self.scaling = Scaling(self.state, self._operations)
        self._intake = Intake(self.state, self._placing, self._ending)

    def on_event(self, event: Event, now_ms: float) -> list[Action]:
        """Take an event in; returns what is to be done, in order.

        Raises ProtocolViolation, with nothing changed, when the sender broke the rules of the wire:
        its session is to be ended, and that told as a detach. Likewise WorkerNotFound, InvalidField and
        OperationRefused for an operator's order. News from unknown sessions is ignored.
        """
        self._take(event, now_ms)
        self._settle(now_ms)
        actions, self.state.actions = self.state.actions, []
        return actions

    def on_tokens(
        self, session: int, streams: "array[int]", token_ids: "array[int]", now_ms: float
    ) -> list[Action]:
        """Take in a step that gave one token for each of some jobs, without logprobs, and nothing else.

        Says what `on_event` would of such a `WorkerStep`, for less: most steps are no more than that.
        """
        worker = self.state.fleet.workers.get(session)
        if worker is not None and self._progress.one_token_each(worker, streams, token_ids, now_ms):
            self._settle(now_ms)
        actions, self.state.actions = self.state.actions, []
        return actions

    def _settle(self, now_ms: float) -> None:
        """See what has become possible."""
        self._operations.settle(now_ms)
        self._sentinel.settle(now_ms)
        self._placing.place_waiting(now_ms)

    @property
    def next_due_ms(self) -> float | None:
        """When the next `Tick` is needed at the latest; `None` when nothing waits for time.

        Reminders of what has ended are forgotten at that.
        """
        return self.state.timers.next_due_ms(self._matters)

    def _matters(self, timer: Timer) -> bool:
        return timer.kind is TimerKind.BREAKER or (timer.gateway, timer.stream) in self.state.flights

    def explain(self, request: Request, now_ms: float) -> Explanation:
        """Where a request would go now; changes nothing."""
        return explain(self.state, self._intake.admission, request, now_ms)

    def _take(self, event: Event, now_ms: float) -> None:
        match event:
            case WorkerStep():
                worker = self.state.fleet.workers.get(event.session)
                if worker is not None:
                    self._progress.step(worker, event.step, now_ms)
            case Submitted():
                self._intake.submit(event.session, event.stream, event.request, now_ms)
            case CancelRequested(session, stream):
                self._intake.cancel(session, stream, now_ms)
            case Tick():
                self._tick(now_ms)
            case GatewayAttached(session):
                self._intake.gateway_attached(session)
                self.state.do(SendModels(session, served_models(self.state)))
            case GatewayDetached(session):
                self._intake.gateway_detached(session, now_ms)
            case _:
                self._take_fleet_news(event, now_ms)

    def _take_fleet_news(self, event: Event, now_ms: float) -> None:
        match event:
            case WorkerAttached(session, registration):
                self._attach(session, registration, now_ms)
            case WorkerDetached(session, newest_job, has_died):
                self._detach(session, newest_job if has_died else 0, now_ms)
            case WorkerDraining(session):
                if (worker := self.state.fleet.workers.get(session)) is not None:
                    self._recovery.worker_leaves(worker)
            case WorkerGrant(session, grant):
                self._sharing.granted(session, grant)
            case WorkerLoad(session, load):
                if (worker := self.state.fleet.workers.get(session)) is not None:
                    worker.load = load
            case ScalerAttached(session):
                self.scaling.drivers.add(session)
            case ScalerDetached(session):
                self.scaling.drivers.discard(session)
            case RoutersSeen():
                self.scaling.routers_seen(event, now_ms)
            case Drain() | Undrain() | StandBy() | Activate() | SetRole() | SetLocalThreshold() | Forgive():
                self._operations.carry_out(event, now_ms)

    def _attach(self, session: int, registration: Registration, now_ms: float) -> None:
        refusal = self._registration_refusal(registration)
        if refusal is not None:
            self.state.do(RefuseWorker(session, refusal))
            return
        self._replace(registration.worker_id, now_ms)
        worker = Worker(session, registration, now_ms)
        self.state.fleet.attach(worker)
        self.state.room_changed(worker)
        self.state.do(SendModels(None, served_models(self.state)))

    def _replace(self, worker_id: str, now_ms: float) -> None:
        """A worker that comes back before its old session is found dead takes its own place."""
        workers = self.state.fleet.workers.values()
        for old in [w for w in workers if w.worker_id == worker_id]:
            self._detach(old.session, 0, now_ms)
            error = RegistrationRefused(f"another session registered as {worker_id}")
            self.state.do(RefuseWorker(old.session, error))

    def _registration_refusal(self, registration: Registration) -> MeshError | None:
        capacity, block_tokens = registration.capacity, registration.fingerprint.block_size_tokens
        if min(capacity.kv_blocks, capacity.max_running_requests, capacity.max_batched_tokens) < 1:
            return RegistrationRefused(f"{registration.worker_id} has no capacity: {capacity}")
        if len(registration.adapters) > self.state.config.limits.adapters_per_worker_max:
            return RegistrationRefused(f"{registration.worker_id} has {len(registration.adapters)} adapters")
        if block_tokens < 1 or capacity.max_model_len_tokens < 1:
            return RegistrationRefused(f"{registration.worker_id} has no block size or model length")
        if len(self.state.fleet.workers) >= self.state.config.limits.workers_max:
            return RegistrationRefused(f"{len(self.state.fleet.workers)} workers are attached already")
        return self._misfit(registration)

    def _misfit(self, registration: Registration) -> MeshError | None:
        pool = self.state.fleet.pools.get(registration.fingerprint.model)
        members = pool.workers.values() if pool is not None else ()
        # The members of a pool agree with each other, so one stands for all.
        other = next((w for w in members if w.worker_id != registration.worker_id), None)
        if other is None:
            return None
        differences = registration.fingerprint.differences(other.registration.fingerprint)
        if registration.embedding_model != other.registration.embedding_model:
            pair = registration.embedding_model, other.registration.embedding_model
            differences.append("embedding model: {} != {}".format(*pair))
        known = pool.adapter_digests if pool is not None else {}
        differences += [
            f"adapter {name}: {digest} != {known[name]}"
            for name, digest in registration.adapters.items()
            if known.get(name, digest) != digest
        ]
        if not differences:
            return None
        words = f"{registration.worker_id} does not fit {other.worker_id}: {'; '.join(differences)}"
        return RegistrationRefused(words)

    def _detach(self, session: int, died_with: int, now_ms: float) -> None:
        worker = self.state.fleet.detach(session)
        if worker is not None:
            self.scaling.steward.forget(session)
            self.state.policies.worker_gone(worker)
            self._recovery.worker_gone(worker, "the worker is gone", died_with, now_ms)
            self.state.do(SendModels(None, served_models(self.state)))

    def _tick(self, now_ms: float) -> None:
        for timer in self.state.timers.due(now_ms):
            self._on_timer(timer, now_ms)
        self._sentinel.tick(now_ms)
        self._sharing.tick()
        if now_ms - self._stalls_checked_ms >= STALL_CHECK_MS:
            self._stalls_checked_ms = now_ms
            self._check_stalls(now_ms)
        self.scaling.settle(now_ms)

    def _check_stalls(self, now_ms: float) -> None:
        stall_ms = self.state.config.stall_timeout_ms
        for worker in self.state.fleet.workers.values():
            if worker.jobs and now_ms - worker.heard_ms > stall_ms:
                self._recovery.stalled(worker, now_ms)

    def _on_timer(self, timer: Timer, now_ms: float) -> None:
        if timer.kind is TimerKind.BREAKER:
            self.state.room_changed(self.state.fleet.workers.get(timer.gateway))
            return
        flight = self.state.flights.get((timer.gateway, timer.stream))
        if flight is None:
            return
        match timer.kind:
            case TimerKind.QUEUE_WAIT:
                self._intake.waited_too_long(flight, now_ms)
            case TimerKind.DEADLINE:
                self._intake.check_deadline(flight, now_ms)
            case _:
                self._recovery.check_progress(flight, timer, now_ms)
