"""A worker of the virtual fleet: jobs in, steps out, handoffs over the link.

Tokens are told when somebody may wait for them: the first, and those of an answer that is whole. What lies
between is told together, which changes nothing for the router and spares a call for each step.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.common.domain import (
    FailureKind,
    FinishReason,
    HandoffAdopted,
    HandoffOffered,
    HandoffReleased,
    Job,
    JobFailed,
    JobFinished,
    JobKind,
    LoadReport,
    Registration,
    StepOutput,
)
from services.common.domain.tokens import tokens
from services.common.limits import DEFAULTS
from services.planner.world.engine import EngineLimits, StepNews, VirtualEngine
from services.planner.world.sequence import Sequence
from services.router.core.events import WorkerDetached, WorkerLoad, WorkerStep
from services.worker.engine.sim.step_times import StepTimes

if TYPE_CHECKING:
    from services.planner.world.fleet import FleetWorld

TELL_ALL_MS = 20_000.0
"""Long answers are told of in between this often, lest the router take the engine for stuck."""
_TOKENS = tokens([0])
_MANY = _TOKENS * 4_096


@dataclass(slots=True)
class Offer:
    """KV that waits for its new owner."""

    sequence: Sequence
    is_settled: bool = False


class FleetWorker:
    """Implements `VirtualWorker`."""

    def __init__(
        self,
        world: "FleetWorld",
        session: int,
        registration: Registration,
        times: StepTimes,
        limits: EngineLimits,
    ) -> None:
        self.world, self.session, self.registration = world, session, registration
        self.attached_ms = world.now_ms
        self.detached_ms: float | None = None
        self.engine = VirtualEngine(world, times, limits, on_news=self._on_news, on_pull=self._pull)
        self.offers: dict[str, Offer] = {}
        self._sequences: dict[int, Sequence] = {}
        self._newest_job = 0
        self._told_all_ms = world.now_ms

    def start(self, job: Job) -> None:
        """Take a job."""
        self._newest_job = job.stream
        length = len(job.prompt) + len(job.delivered)
        answer = self.world.answer_tokens(job.request_id) - len(job.delivered)
        end = length + max(1, min(answer, job.tokens_left))
        pieces = self.world.pieces(job.request_id)
        sequence = Sequence(job, length, end, pieces, must_pull=job.kind is JobKind.ADOPT)
        self._sequences[job.stream] = sequence
        self.engine.add(sequence)

    def abort(self, stream: int) -> None:
        """End a job; KV that it was to take over is freed at its owner."""
        sequence = self._sequences.pop(stream, None)
        if sequence is not None:
            self.engine.remove(sequence)
            if sequence.must_pull:
                self.world.settle_offer(sequence)

    def release(self, handoff_id: str) -> None:
        """Free offered KV: it has been adopted, or nobody wants it."""
        offer = self.offers.pop(handoff_id, None)
        if offer is not None:
            self.engine.kv.release(offer.sequence.holding)
            self.engine.freed()
            self._send(StepOutput(released=[HandoffReleased(handoff_id)]))

    def die(self) -> None:
        """Vanish at once. What was generated until now has left."""
        self.engine.die()
        step = StepOutput()
        self._tell_all(step)
        self.world.feed(WorkerStep(self.session, step))
        self.leave(has_died=True)

    def leave(self, *, has_died: bool = False) -> None:
        """End the session."""
        self.engine.is_dead = True
        self.detached_ms = self.world.now_ms
        self.world.forget(self)
        self.world.feed(WorkerDetached(self.session, self._newest_job if has_died else 0, has_died))

    def report(self) -> None:
        """Say what it holds, and now and then what it has generated."""
        engine = self.engine
        load = LoadReport(
            running_requests=engine.running,
            waiting_requests=engine.waiting,
            kv_blocks_free=engine.kv.available,
            kv_blocks_total=engine.kv.blocks,
            step_ms=engine.meter.step_ms_mean,
            queued_prefill_tokens=engine.queued_prefill_tokens,
        )
        self.world.feed(WorkerLoad(self.session, load))
        if self.world.now_ms - self._told_all_ms >= TELL_ALL_MS:
            self._told_all_ms = self.world.now_ms
            engine.sync()
            step = StepOutput()
            self._tell_all(step)
            self._send(step)

    def _send(self, step: StepOutput) -> None:
        self.world.over_link("up", self.session, lambda: self.world.take_step(self, step))

    def _tell_all(self, step: StepOutput) -> None:
        for sequence in self.engine.batch.members():
            so_far = sequence.generated + self.engine.batch.length(sequence) - sequence.length
            self._tell_tokens(step, sequence, so_far)

    @staticmethod
    def _tell_tokens(step: StepOutput, sequence: Sequence, so_far: int) -> None:
        fresh = so_far - sequence.told_tokens
        if fresh > 0:
            sequence.told_tokens = so_far
            many = _MANY[:fresh] if fresh <= len(_MANY) else _TOKENS * fresh
            step.tokens.add(sequence.job.stream, many)

    def _on_news(self, news: StepNews) -> None:
        step = StepOutput()
        for sequence in news.ended:
            self._finish(sequence, step)
        for sequence in news.prefilled:
            self._prefilled(sequence, step)
        self._send(step)

    def _finish(self, sequence: Sequence, step: StepOutput) -> None:
        self._tell_tokens(step, sequence, sequence.generated)
        self._sequences.pop(sequence.job.stream, None)
        step.finished.append(JobFinished(sequence.job.stream, FinishReason.STOP, sequence.cached_tokens))

    def _prefilled(self, sequence: Sequence, step: StepOutput) -> None:
        """Hand over, or decode on; an answer of one token ends here."""
        self.world.prefix_stored(self, sequence)
        if sequence.end_length <= sequence.length + 1:
            sequence.generated += 1
            self.engine.remove(sequence)
            self._finish(sequence, step)
        elif sequence.job.kind is JobKind.PREFILL:
            step.offered.append(self._offer(sequence))
        else:
            self.engine.first_token(sequence)
            self._tell_tokens(step, sequence, sequence.generated)

    def _offer(self, sequence: Sequence) -> HandoffOffered:
        stream, length = sequence.job.stream, sequence.length
        handoff_id = f"{self.session}/{stream}"
        self.offers[handoff_id] = Offer(sequence)
        del self._sequences[stream]
        blocks = -(-length // self.engine.limits.block_size_tokens)
        size_bytes = blocks * self.registration.capacity.kv_block_size_bytes
        return HandoffOffered(
            stream,
            handoff_id,
            b"",
            length,
            blocks,
            size_bytes,
            DEFAULTS.handoff_lease_ms,
            _TOKENS[:],
            cached_tokens=sequence.cached_tokens,
        )

    def _pull(self, sequence: Sequence) -> None:
        """Blocks are there; the KV comes over the link."""
        ticket = sequence.job.handoff
        owner = self.world.owner_of(ticket.handoff_id) if ticket is not None else None
        if owner is None or ticket is None:
            self.world.at(0.0, lambda: self._pull_failed(sequence))
            return
        missing = max(0, ticket.kv_tokens - sequence.cached_tokens)
        size_bytes = missing * self.engine.times.kv_token_bytes
        took_ms = self.world.transfer_ms(owner.session, self.session, size_bytes, missing)
        self.world.at(took_ms, lambda: self._pulled(sequence, int(size_bytes), took_ms))

    def _pull_failed(self, sequence: Sequence) -> None:
        stream = sequence.job.stream
        if self._sequences.pop(stream, None) is not None:
            self.engine.remove(sequence)
            self._send(
                StepOutput(failed=[JobFailed(stream, FailureKind.HANDOFF, "the prefill worker is gone")])
            )

    def _pulled(self, sequence: Sequence, size_bytes: int, took_ms: float) -> None:
        ticket = sequence.job.handoff
        if sequence.job.stream not in self._sequences or ticket is None or self.engine.is_dead:
            return
        owner = self.world.owner_of(ticket.handoff_id)
        if owner is None:
            self._pull_failed(sequence)
            return
        owner.release(ticket.handoff_id)
        self.engine.pulled(sequence)
        adopted = HandoffAdopted(sequence.job.stream, ticket.handoff_id, size_bytes, took_ms)
        self._send(StepOutput(adopted=[adopted]))
