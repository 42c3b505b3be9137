"""Recovery: what a worker's failure, death or silence turns into. The client sees only time."""

from services.common.domain import FailureKind, FinishReason, JobFailed
from services.common.errors import InvalidField, NotResumable, QuarantinedPrompt, RetriesExhausted
from services.router.core.actions import RecordPrompt, ReleaseHandoff, SendModels
from services.router.core.ending import Ending
from services.router.core.fleet import Worker, WorkerState
from services.router.core.flight import Flight, Phase
from services.router.core.handoffs import HandoffState
from services.router.core.models import served_models
from services.router.core.placing import Placing
from services.router.core.state import CANARY_GATEWAY, State
from services.router.core.timers import Timer


class Recovery:
    """Places a flight again whose worker failed it, within bounds."""

    def __init__(self, state: State, placing: Placing, ending: Ending) -> None:
        self._state, self._placing, self._ending = state, placing, ending

    def job_failed(self, worker: Worker, failed: JobFailed, now_ms: float) -> None:
        """A worker gives a job up."""
        flight = worker.jobs.get(failed.stream)
        if flight is None:
            return
        self._ending.stop_job(flight, abort=False)
        if failed.kind is FailureKind.INVALID:
            self._ending.fail(flight, InvalidField(failed.message), now_ms)
        elif failed.kind is FailureKind.HANDOFF and flight.phase is Phase.ADOPTING:
            flight.handoff_failure = failed.message
            self._handoff_failed(flight, worker, "handoff_failed", now_ms)
        else:
            is_leaving = failed.kind is FailureKind.LEAVING
            if is_leaving:
                self.worker_leaves(worker)
            else:
                self._blame(worker, now_ms)
            is_free = is_leaving and flight.gateway != CANARY_GATEWAY  # a canary is for this pair alone
            self._place_again(flight, worker, failed.message, now_ms, is_free=is_free)

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
        prompts = [f.request.prompt for stream, f in worker.jobs.items() if stream <= died_with]
        if prompts:
            self._state.quarantine.worker_died(worker.session, prompts)
        self._state.pairs.forget(worker.session)
        for handoff in self._state.ledger.lose(worker.session):
            handoff.settle(HandoffState.DROPPED, now_ms)
        for flight in list(worker.jobs.values()):
            self._ending.stop_job(flight, abort=False)
            self._place_again(flight, worker, why, now_ms)
        for flight in self._reserved_on(worker):
            self._ending.leave_decode_seat(flight)

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
            self._blame(worker, now_ms)
            self._place_again(flight, worker, "nothing came in time", now_ms)

    def stalled(self, worker: Worker, now_ms: float) -> None:
        """A worker sends nothing for its jobs: they go elsewhere."""
        self._blame(worker, now_ms)
        for flight in list(worker.jobs.values()):
            self._ending.stop_job(flight, abort=True)
            self._place_again(flight, worker, "the engine is stuck", now_ms)
        worker.heard_ms = now_ms

    def _blame(self, worker: Worker, now_ms: float) -> None:
        if worker.breaker.fault(now_ms):
            self._state.breaker_opened(worker, worker.breaker)

    def _handoff_failed(self, flight: Flight, decode: Worker, reason: str, now_ms: float) -> None:
        handoff, seat = flight.handoff, flight.decode_seat
        if handoff is not None and handoff.worker.pool is not None:
            pair = self._state.pairs.of(handoff.worker, decode)
            pair.failures += 1
            pair.failure = flight.handoff_failure
            if pair.breaker.fault(now_ms):
                self._state.breaker_opened(decode, pair.breaker)
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
        if self._state.quarantine.holds(flight.request.prompt):
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
