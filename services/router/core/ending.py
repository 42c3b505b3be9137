"""The end of a flight: exactly one outcome, everything closed, whatever phase it was in."""

from array import array

from services.common.domain import FinishReason
from services.common.errors import MeshError
from services.router.core.actions import AbortJob, EndStream, ReleaseHandoff, SendPlaced
from services.router.core.fleet import Seat
from services.router.core.flight import Flight, Phase
from services.router.core.handoffs import HandoffState
from services.router.core.outcomes import ANSWERED, CANCELLED
from services.router.core.state import CANARY_GATEWAY, State

UNROUTED = "embedding"
"""The reason that is told where no path was chosen: a vector needs one worker, and nothing is handed over."""


class Ending:
    """Closes flights and the parts of flights."""

    def __init__(self, state: State) -> None:
        self._state = state

    def finish(
        self, flight: Flight, reason: FinishReason, now_ms: float, vector: "array[float] | None" = None
    ) -> None:
        """End with an answer, or cancelled."""
        self._close(flight, now_ms, is_whole=reason is FinishReason.STOP)
        if reason in (FinishReason.STOP, FinishReason.LENGTH):
            self._state.quarantine.answered(flight.request.tenant, flight.request.prompt)
        # One that another worker has had tells nothing clear.
        is_answer = reason in (FinishReason.STOP, FinishReason.LENGTH) and not flight.avoided_workers
        if is_answer and not flight.request.delivered and flight.request.embedding is None:
            self._state.policies.finished(flight.receipt)
        self._say(flight, reason, None, now_ms, vector)

    def fail(self, flight: Flight, error: MeshError, now_ms: float) -> None:
        """End with an error."""
        self._close(flight, now_ms)
        self._say(flight, FinishReason.ERROR, error, now_ms)

    def vanish(self, flight: Flight, now_ms: float) -> None:
        """End with nobody left to tell."""
        self._close(flight, now_ms)
        flight.pool.outcomes.count(CANCELLED, now_ms)

    def announce(self, flight: Flight) -> None:
        """Tell the gateway where the stream runs, once."""
        if flight.announced:
            return
        flight.announced, receipt = True, flight.receipt
        self._state.do(
            SendPlaced(
                flight.gateway,
                flight.stream,
                flight.path,
                receipt.path_reason or UNROUTED,
                receipt.prefill_worker,
                receipt.decode_worker,
            )
        )

    def _say(
        self,
        flight: Flight,
        reason: FinishReason,
        error: MeshError | None,
        now_ms: float,
        vector: "array[float] | None" = None,
    ) -> None:
        if flight.gateway == CANARY_GATEWAY:
            self._state.canaries_ended.append((flight, reason))
            return
        outcome = CANCELLED if reason is FinishReason.CANCELLED else ANSWERED
        flight.pool.outcomes.count(outcome if error is None else error.reason, now_ms)
        if vector is None and flight.was_placed:  # its prompt is paid for, however early its caller left
            self.announce(flight)
        self._state.do(EndStream(flight.gateway, flight.stream, reason, flight.receipt, error, vector))

    def _close(self, flight: Flight, now_ms: float, *, is_whole: bool = False) -> None:
        flight.stop_decoding(now_ms)
        flight.receipt.generated_tokens = len(flight.delivered)
        request, output_tokens = flight.request, len(flight.delivered)
        flight.pool.shares.charge(request.tenant, output_tokens=output_tokens, weight=request.tenant_weight)
        if output_tokens and flight.gateway != CANARY_GATEWAY:
            flight.pool.expected_output.learn(output_tokens, is_whole=is_whole)
        if flight.phase is Phase.WAITING:
            self.leave_queue(flight, now_ms)
        self.stop_job(flight, abort=True)
        self.drop_handoff(flight, now_ms)
        seat = flight.decode_seat
        if seat is not None:
            flight.pool.freed_blocks.count(now_ms, seat.blocks)
            held_ms = now_ms - flight.submitted_ms - flight.receipt.queue_ms
            self._state.demand_of(flight.pool.model).ended(held_ms)
        self.leave_seats(flight)
        flight.phase = Phase.ENDED
        del self._state.flights[flight.gateway, flight.stream]
        self._state.streams_of.get(flight.gateway, set()).discard(flight.stream)

    def leave_queue(self, flight: Flight, now_ms: float) -> None:
        """Stop waiting, if it waits."""
        pool = flight.pool
        if pool.prefill_queue.remove(flight) or pool.decode_queue.remove(flight):
            flight.receipt.queue_ms += now_ms - flight.waiting_since_ms
            self._state.dirty_pools[pool.model] = pool

    def stop_job(self, flight: Flight, *, abort: bool) -> None:
        """Forget the current job, and tell its worker if it may still run."""
        worker = flight.worker
        if worker is None:
            return
        flight.worker = None
        if worker.jobs.pop(flight.job_stream, None) is not None and abort:
            self._state.do(AbortJob(worker.session, flight.job_stream))

    def drop_handoff(self, flight: Flight, now_ms: float) -> None:
        """Give the offer up; the ledger keeps it until the prefill worker confirms.

        An adopted handoff is the decode worker's: aborting the job frees it there. Telling the
        prefill worker once more is harmless, so an adoption whose news is on its way is covered too.
        """
        handoff, flight.handoff = flight.handoff, None
        if handoff is not None and handoff.state is HandoffState.OFFERED:
            handoff.settle(HandoffState.DROPPED, now_ms)
            self._state.do(ReleaseHandoff(handoff.worker.session, handoff.handoff_id))

    def leave_seats(self, flight: Flight) -> None:
        """Give back what is reserved. An offer's blocks stay with the ledger."""
        self.leave_decode_seat(flight)
        seat, flight.prefill_seat = flight.prefill_seat, None
        self._leave(seat)

    def leave_decode_seat(self, flight: Flight) -> None:
        """Give the decode worker's room back."""
        seat, flight.decode_seat = flight.decode_seat, None
        self._leave(seat)

    def _leave(self, seat: Seat | None) -> None:
        if seat is not None:
            seat.leave()
            self._state.room_changed(seat.worker)
