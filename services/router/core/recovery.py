"""Recovery: what a worker's failure, death or silence turns into. The client sees only time."""

from array import array
from collections.abc import Collection, Sequence

from services.common.domain import FailureKind, FinishReason, JobFailed
from services.common.errors import (
    InvalidField,
    NotResumable,
    QuarantinedPrompt,
    RequestFailed,
    RetriesExhausted,
)
from services.router.core.actions import Announce, RecordPrompt, ReleaseHandoff, SendModels
from services.router.core.ending import Ending
from services.router.core.fleet import Worker, WorkerState
from services.router.core.flight import Flight, Phase
from services.router.core.handoffs import HandoffState
from services.router.core.models import served_models
from services.router.core.placing import Placing
from services.router.core.state import CANARY_GATEWAY, State
from services.router.core.timers import Timer

GOES_ON_MS = 2_000.0
"""For so long after a worker's last success failures of one tenant alone say nothing against it."""
FAILURES_ALONE_MAX = 1
"""How often a flight may fail where others go on; with the next time it is the request's own fault."""


class Recovery:
    """Places a flight again whose worker failed it, within bounds."""

    def __init__(self, state: State, placing: Placing, ending: Ending) -> None:
        self._state, self._placing, self._ending = state, placing, ending

    def jobs_failed(self, worker: Worker, failures: Sequence[JobFailed], now_ms: float) -> None:
        """A worker gives jobs up, all of these in one step."""
        failing = {worker.jobs[f.stream] for f in failures if f.stream in worker.jobs}
        goes_on = {flight for flight in failing if _goes_on_without(worker, flight, failing, now_ms)}
        for failure in failures:
            if (flight := worker.jobs.get(failure.stream)) is not None:
                self._job_failed(flight, worker, failure, now_ms, is_alone=flight in goes_on)

    def _job_failed(
        self, flight: Flight, worker: Worker, failed: JobFailed, now_ms: float, *, is_alone: bool
    ) -> None:
        self._ending.stop_job(flight, abort=False)
        if failed.kind is FailureKind.INVALID:
            self._ending.fail(flight, InvalidField(failed.message, field=failed.field), now_ms)
        elif failed.kind is FailureKind.HANDOFF and flight.phase is Phase.ADOPTING:
            flight.handoff_failure = failed.message
            self._handoff_failed(flight, worker, "handoff_failed", now_ms)
        elif failed.kind is FailureKind.LEAVING:
            self.worker_leaves(worker)
            is_free = flight.gateway != CANARY_GATEWAY  # a canary is for this pair alone
            self._place_again(flight, worker, failed.message, now_ms, is_free=is_free)
        elif failed.kind is FailureKind.FULL:
            self._place_again(flight, worker, failed.message, now_ms)
        else:
            self._engine_failed(flight, worker, failed.message, now_ms, is_alone=is_alone)

    def _engine_failed(
        self, flight: Flight, worker: Worker, why: str, now_ms: float, *, is_alone: bool
    ) -> None:
        """An engine has failed a flight: a failure of this one alone says nothing against the worker.

        It may still be chance, so another worker is asked once, and nobody else's retries pay for that.
        """
        if not is_alone:
            self._blame(worker, f"{flight.request.request_id}: {why}", now_ms)
            self._place_again(flight, worker, why, now_ms)
            return
        flight.failures_alone += 1
        most = self._state.config.limits.retries_per_request_max
        if flight.failures_alone > FAILURES_ALONE_MAX or flight.receipt.retries >= most:
            self._ending.fail(flight, RequestFailed(f"engines fail it and go on with others: {why}"), now_ms)
            return
        flight.receipt.retries += 1
        self._place_again(flight, worker, why, now_ms, is_free=True)

    def worker_leaves(self, worker: Worker) -> None:
        """A worker takes no more work: it has said so, or turned a job away for that reason."""
        if not worker.leaves:
            worker.leaves, worker.state = True, WorkerState.DRAINING
            self._state.fleet.pools[worker.registration.fingerprint.model].recount()
            self._state.do(SendModels(None, served_models(self._state)))

    def worker_gone(self, worker: Worker, why: str, died_with: int, now_ms: float) -> None:
        """A worker's session has ended: its jobs go elsewhere, its offers are lost.

        Those up to number `died_with` are suspected of its death. It is 0 for a worker that lives, which may
        have stood still with its host; a job that came to one already dead had no part in that.
        """
        suspects = [
            (f.request.tenant, f.request.prompt) for stream, f in worker.jobs.items() if stream <= died_with
        ]
        if suspects:
            self._suspect(worker, suspects)
        self._state.pairs.forget(worker.session)
        for handoff in self._state.ledger.lose(worker.session):
            handoff.settle(HandoffState.DROPPED, now_ms)
        for flight in list(worker.jobs.values()):
            self._ending.stop_job(flight, abort=False)
            self._place_again(flight, worker, why, now_ms)
        for flight in self._reserved_on(worker):
            self._ending.leave_decode_seat(flight)

    def _suspect(self, worker: Worker, suspects: "Sequence[tuple[str, array[int]]]") -> None:
        shut_out = self._state.quarantine.worker_died(worker.session, suspects)
        for what in shut_out:
            why = f"two workers died with it, at last {worker.worker_id}"
            self._state.do(Announce(what, is_shut_out=True, why=why))

    def _reserved_on(self, worker: Worker) -> list[Flight]:
        """Flights prefilled elsewhere for this decode worker; they find another when the offer comes."""
        flights = self._state.flights.values()
        return [f for f in flights if f.decode_seat is not None and f.decode_seat.worker is worker]

    def check_progress(self, flight: Flight, timer: Timer, now_ms: float) -> None:
        """A timer that was set with a job is due: tokens since then earn it another."""
        if flight.job_number != timer.job_number:
            return
        if flight.phase is Phase.DECODING and len(flight.delivered) > timer.tokens:
            self._state.expect_progress(flight, now_ms + self._state.config.stall_timeout_ms)
        else:
            self.overdue(flight, now_ms)

    def overdue(self, flight: Flight, now_ms: float) -> None:
        """A worker has not offered, not adopted, or not brought a token in time."""
        worker = flight.worker
        if worker is None:
            return
        self._ending.stop_job(flight, abort=True)
        if flight.phase is Phase.ADOPTING:
            flight.handoff_failure = "the decode worker said nothing in time"
            self._handoff_failed(flight, worker, "handoff_timeout", now_ms)
        else:
            is_alone = _goes_on_without(worker, flight, (flight,), now_ms)
            self._engine_failed(flight, worker, "nothing came in time", now_ms, is_alone=is_alone)

    def stalled(self, worker: Worker, now_ms: float) -> None:
        """A worker sends nothing for its jobs: they go elsewhere."""
        self._blame(worker, "the engine is stuck", now_ms)
        for flight in list(worker.jobs.values()):
            self._ending.stop_job(flight, abort=True)
            self._place_again(flight, worker, "the engine is stuck", now_ms)
        worker.heard_ms = now_ms

    def _blame(self, worker: Worker, why: str, now_ms: float) -> None:
        if worker.breaker.fault(now_ms):
            self._state.breaker_opened(worker, worker.breaker, worker.title, why)

    def _handoff_failed(self, flight: Flight, decode: Worker, reason: str, now_ms: float) -> None:
        handoff, seat = flight.handoff, flight.decode_seat
        if handoff is not None and handoff.worker.pool is not None:
            pair = self._state.pairs.of(handoff.worker, decode)
            pair.failures += 1
            pair.failure = flight.handoff_failure
            if pair.breaker.fault(now_ms):
                self._state.breaker_opened(decode, pair.breaker, pair.title, reason)
        if handoff is not None and handoff.state is HandoffState.ADOPTED:
            self._state.do(ReleaseHandoff(handoff.worker.session, handoff.handoff_id))
        if seat is None or self._is_out_of_retries(flight, reason, now_ms):
            return
        self._placing.fall_back(flight, seat, reason, now_ms)

    def _place_again(
        self, flight: Flight, worker: Worker, why: str, now_ms: float, *, is_free: bool = False
    ) -> None:
        """With `is_free` it costs no retry: that a worker leaves is no failure, and each can say it once."""
        if len(flight.delivered) >= flight.request.sampling.max_tokens:
            self._ending.finish(flight, FinishReason.LENGTH, now_ms)
            return
        if self._state.quarantine.holds(flight.request.tenant, flight.request.prompt):
            self._ending.fail(flight, QuarantinedPrompt("workers died with this prompt"), now_ms)
            self._state.do(RecordPrompt(flight.request, why))
            return
        if not flight.may_move:
            self._ending.fail(flight, NotResumable(f"{worker.worker_id}: {why}"), now_ms)
            return
        if not is_free and self._is_out_of_retries(flight, why, now_ms):
            return
        flight.avoided_workers.add(worker.session)
        self._ending.drop_handoff(flight, now_ms)
        self._ending.leave_seats(flight)
        flight.stop_decoding(now_ms)
        self._placing.enqueue(flight, now_ms, returned=True)

    def _is_out_of_retries(self, flight: Flight, why: str, now_ms: float) -> bool:
        most = self._state.config.limits.retries_per_request_max
        if flight.receipt.retries >= most:
            why = f"failed {most + 1} times, at last: {why}"
        elif self._state.retry_budget.take():
            flight.receipt.retries += 1
            return False
        else:
            why = f"the mesh's retry budget is spent: {why}"
        self._ending.fail(flight, RetriesExhausted(why), now_ms)
        return True


def _goes_on_without(worker: Worker, flight: Flight, failing: Collection[Flight], now_ms: float) -> bool:
    """Whether the worker serves others while it fails this one.

    It decodes others that do not fail with it, or has done a job since this one came; or not long ago, and
    has failed nobody since but this one's tenant.
    """
    worker.failed_tenants.add(flight.request.tenant)
    if worker.succeeded_ms >= flight.job_since_ms:
        return True
    if now_ms - worker.succeeded_ms <= GOES_ON_MS and len(worker.failed_tenants) == 1:
        return True
    return any(o.decode_since_ms is not None and o not in failing for o in worker.jobs.values())
