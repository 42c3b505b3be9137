"""The simulated engine: batched steps in simulated time, handoffs over real sockets."""

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping

from services.common.clock import Clock, MonotonicClock
from services.common.domain import (
    Capacity,
    EmbeddingModel,
    FailureKind,
    Fingerprint,
    FinishReason,
    HandoffAdopted,
    Job,
    JobFailed,
    JobFinished,
    JobKind,
    LoadReport,
    Role,
    StepOutput,
)
from services.common.domain.address import join_address
from services.common.errors import EngineStartFailed, EngineUnhealthy
from services.worker.engine.constraints import STRUCTURE, nothing_left
from services.worker.engine.interface import LOOPBACK, EngineSink
from services.worker.engine.sim.admission import refusal_of
from services.worker.engine.sim.adoption import Adoptions, is_nth
from services.worker.engine.sim.blocks import BlockPool
from services.worker.engine.sim.continuation import Continuation, Vocabulary
from services.worker.engine.sim.embedding import expected_vector
from services.worker.engine.sim.faults import Faults
from services.worker.engine.sim.likelihood import describe
from services.worker.engine.sim.offers import Offers
from services.worker.engine.sim.options import Options
from services.worker.engine.sim.probe import Probe
from services.worker.engine.sim.scheduler import Scheduler, StepPlan
from services.worker.engine.sim.sequence import Phase, Sequence
from services.worker.engine.sim.structure import Structures, Unsupported
from services.worker.engine.sim.transfer import HandoffServer

log = logging.getLogger(__name__)

VERSION = "1"
"""Changes when the same prompt gets other tokens or the handoff's format changes."""
STEP_MEAN_WEIGHT = 0.1
"""Share of the newest step in the reported mean."""
CHECK_TIMEOUT_S = 10.0
"""A health check that takes longer has failed."""
EXIT_CODE_DEAD = 86
"""Exit code of a process that was told to die."""


class SimEngine:
    """Implements `services.worker.engine.Engine`. Create it through `create`."""

    def __init__(
        self,
        fingerprint: Fingerprint,
        role: Role,
        options: Options,
        vocabulary: Vocabulary,
        clock: Clock | None = None,
        *,
        structures: Structures | None = None,
        adapters: Mapping[str, str] | None = None,
        embedding_model: EmbeddingModel | None = None,
        vocabulary_size: int = 0,
    ) -> None:
        shape = options.shape
        self.fingerprint = fingerprint
        self.capacity = Capacity(
            kv_blocks=shape.kv_blocks,
            kv_block_size_bytes=options.kv_block_size_bytes,
            max_running_requests=shape.max_num_seqs,
            max_batched_tokens=shape.max_num_batched_tokens,
            max_model_len_tokens=shape.max_model_len,
        )
        self.role_is_fixed = shape.role_is_fixed
        self.can_replay = True  # tokens are a function of prompt and position alone
        self.limits_thinking = False  # its tokens think nothing
        self.vocabulary = vocabulary
        self.adapters = adapters or {}
        self.embedding_model = embedding_model
        self.vocabulary_size = vocabulary_size
        self._structures = structures or Structures("")
        self._role = role
        self._options, self._shape = options, shape
        self._profile, self._faults = options.profile, options.faults
        self._clock = clock or MonotonicClock()
        self._pool = BlockPool(shape.kv_blocks, shape.block_size, prefix_caching=shape.enable_prefix_caching)
        self._scheduler = Scheduler(
            self._pool,
            running_max=shape.max_num_seqs,
            batched_tokens_max=shape.max_num_batched_tokens,
            chunked=shape.enable_chunked_prefill,
        )
        self._offers = Offers(
            self._pool, lease_ms=shape.handoff_lease_ms, kv_block_size_bytes=self.capacity.kv_block_size_bytes
        )
        self._handoffs = HandoffServer(self._offers, self, timeout_ms=shape.handoff_timeout_ms)
        self._adoptions = Adoptions(
            shape,
            self.capacity.kv_block_size_bytes,
            self._clock,
            on_adopted=self._adopted,
            on_failed=self._adoption_failed,
        )
        self._sequences: dict[int, Sequence] = {}
        self._news = StepOutput()
        self._wake = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self._probe: Probe | None = None
        self._steps = self._served = self._begun = 0
        self._step_ms_mean = 0.0

    @property
    def handoff_address(self) -> str:
        """Where offers are served; valid after `start`."""
        return join_address(*self._offers.address)

    async def start(self, sink: EngineSink, handoff_host: str = LOOPBACK) -> None:
        """Open the handoff port and begin to step; raises `EngineStartFailed`."""
        await asyncio.sleep(self._shape.load_ms / 1e3)
        host = self._shape.handoff_host or handoff_host
        try:
            self._offers.address = await self._handoffs.start(host)
        except OSError as error:
            raise EngineStartFailed(f"no handoff port on {host}: {error}") from error
        self._sink = sink
        self._loop_task = asyncio.get_running_loop().create_task(self._run(), name="sim-engine")
        self._loop_task.add_done_callback(self._loop_ended)

    def submit(self, job: Job) -> None:
        """Queue a job; a job that cannot run here is reported as failed."""
        refusal = refusal_of(
            job, self._role, self._shape, self._scheduler.waiting, self.adapters, self.embedding_model
        )
        if refusal is not None:
            self._fail(job.stream, *refusal)
            return
        try:
            rules = self._rules(job)
        except Unsupported as error:
            self._fail(job.stream, FailureKind.INVALID, str(error), STRUCTURE)
            return
        if rules.is_impossible:
            self._news.failed.append(nothing_left(job.stream, job.sampling))
            self._wake.set()
            return
        deadline_ms = self._clock.now_ms() + (job.handoff.expires_in_ms if job.handoff else 0)
        sequence = Sequence.of(job, rules, deadline_ms)
        if job.sampling.logprobs is not None:
            alternatives, vocabulary = job.sampling.logprobs, self.vocabulary
            sequence.describe = lambda ids: describe(ids, alternatives, vocabulary)
        self._sequences[job.stream] = sequence
        self._scheduler.add(sequence)
        self._wake.set()

    def _rules(self, job: Job) -> Continuation:
        structured = job.sampling.structured
        return Continuation(
            job.prompt,
            job.sampling,
            self.vocabulary,
            length_max=self._shape.max_model_len - len(job.prompt),
            mean_output_tokens=self._shape.mean_output_tokens,
            lora=job.lora,
            fixed=self._structures.answer(structured, job.prompt) if structured is not None else None,
        )

    def abort(self, streams: Iterable[int]) -> None:
        """End jobs and free all they hold, at once."""
        gone = set(streams)
        for stream in gone:
            sequence = self._sequences.pop(stream, None)
            if sequence is None:
                continue
            self._scheduler.remove(sequence)
            if sequence.must_pull:
                self._adoptions.turn_down(sequence)
        self._news.adopted = [n for n in self._news.adopted if n.stream not in gone]
        self._news.failed = [n for n in self._news.failed if n.stream not in gone]
        self._wake.set()

    def release(self, handoff_ids: Iterable[str]) -> None:
        """Free offered KV that nobody will adopt."""
        for handoff_id in handoff_ids:
            if self._offers.settle(handoff_id):
                self._wake.set()

    def load(self) -> LoadReport:
        """What the engine holds at the moment."""
        return LoadReport(
            running_requests=self._scheduler.running,
            waiting_requests=self._scheduler.waiting,
            kv_blocks_free=self._pool.available,
            kv_blocks_total=self._pool.total,
            step_ms=self._step_ms_mean,
            queued_prefill_tokens=self._scheduler.queued_prefill_tokens,
        )

    def stats(self) -> dict[str, float]:
        """Steps since the start, offers that wait, blocks whose content is known."""
        return {
            "engine_steps": self._steps,
            "offers_open": len(self._offers),
            "kv_blocks_cached": self._pool.cached,
        }

    async def check(self) -> None:
        """Run a short job through the real loop and compare what comes; raises `EngineUnhealthy`."""
        if self._loop_task is None or self._loop_task.done():
            raise EngineUnhealthy("the engine does not run")
        if self._probe is not None:
            raise EngineUnhealthy("a check is running")
        self._probe = Probe(self.vocabulary, self.embedding_model)
        try:
            self.submit(self._probe.job)
            await self._probe.result(CHECK_TIMEOUT_S)
        finally:
            self._probe = None
            self.abort([Probe.STREAM])

    async def close(self) -> None:
        """Stop at once; all that is held is gone with the engine."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        await self._adoptions.close()
        await self._handoffs.close()

    def set_faults(self, faults: Faults) -> None:
        """Change what goes wrong, from the next step on."""
        self._faults = faults
        self._wake.set()

    def refuses_pulls(self) -> bool:
        """See `TransferRules`."""
        return self._faults.refuse_pulls

    def damages_next(self) -> bool:
        """See `TransferRules`."""
        self._served += 1
        return is_nth(self._faults.corrupt_handoff_every, self._served)

    def transfer_ms(self, blocks: int) -> float:
        """See `TransferRules`."""
        return self._profile.handoff_ms(blocks * self.capacity.kv_block_size_bytes)

    def offer_settled(self) -> None:
        """See `TransferRules`."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._faults.hang:
                await self._wake.wait()
                continue
            self._settle_overdue()
            plan = self._scheduler.plan()
            for sequence in plan.pulls:
                self._adoptions.begin(sequence, self._faults.fail_handoff_every)
            if plan.has_compute:
                await self._step(plan)
            else:
                self._tell()
                self._set_alarm()
                await self._wake.wait()

    async def _step(self, plan: StepPlan) -> None:
        began_ms = self._clock.now_ms()
        duration_ms = self._options.step_duration_ms(plan)
        await asyncio.sleep(duration_ms * self._faults.slow_factor / 1e3)
        deadly = self._faults.deadly_token
        if deadly and any(deadly in sequence.job.prompt for sequence, _ in plan.chunks):
            self._die(f"of token {deadly}")
        for sequence in self._scheduler.commit(plan, self._news):
            self._begun += 1
            if self._must_fail(sequence, self._begun):
                self._drop(sequence)
            else:
                self._end_prefill(sequence)
        self._steps += 1
        self._step_ms_mean += STEP_MEAN_WEIGHT * (self._clock.now_ms() - began_ms - self._step_ms_mean)
        self._tell()
        if self._faults.die_after_steps and self._steps >= self._faults.die_after_steps:
            self._die(f"after {self._steps} steps")

    def _end_prefill(self, sequence: Sequence) -> None:
        """Hand over, or decode on; an answer that ends with its first token has nothing to hand over."""
        if self.embedding_model is not None:
            self._end_embedding(sequence, self.embedding_model)
            return
        if sequence.job.kind is not JobKind.PREFILL:
            self._scheduler.first_token(sequence, self._news)
            return
        ids, finish = sequence.continuation.run(len(sequence.job.delivered), 1)
        described = sequence.describe(ids) if sequence.describe is not None else None
        if finish is not None:
            self._scheduler.remove(sequence)
            self._news.tokens.add(sequence.stream, ids)
            if described is not None:
                self._news.tokens.add_logprobs(sequence.stream, described)
            self._news.finished.append(JobFinished(sequence.stream, finish, sequence.cached_tokens))
            return
        self._news.offered.append(self._offers.open(sequence, ids, self._clock.now_ms(), described))
        self._scheduler.detach(sequence)
        del self._sequences[sequence.stream]

    def _must_fail(self, sequence: Sequence, number: int) -> bool:
        choke = self._faults.choke_token
        return is_nth(self._faults.fail_every, number) or (choke > 0 and choke in sequence.job.prompt)

    def _drop(self, sequence: Sequence) -> None:
        """Fail one sequence and go on."""
        del self._sequences[sequence.stream]
        self._scheduler.remove(sequence)
        self._fail(sequence.stream, FailureKind.ENGINE, "told to fail this request")

    def _end_embedding(self, sequence: Sequence, model: EmbeddingModel) -> None:
        job = sequence.job
        self._scheduler.remove(sequence)
        made = expected_vector(job.prompt, model, job.embedding.dimensions if job.embedding else 0, job.lora)
        end = JobFinished(sequence.stream, FinishReason.STOP, sequence.cached_tokens, made)
        self._news.finished.append(end)

    def _tell(self) -> None:
        """Report everything that is new in one message."""
        news, self._news = self._news, StepOutput()
        news.released.extend(self._offers.take_released())
        news.kv_changes.extend(self._pool.take_changes())
        for finished in news.finished:
            self._sequences.pop(finished.stream, None)
        if self._probe is not None:
            news = self._probe.take_from(news)
        if news.has_news():
            self._sink.on_step(news)

    def _settle_overdue(self) -> None:
        now_ms = self._clock.now_ms()
        self._offers.expire(now_ms)
        for sequence in self._scheduler.late_adoptions(now_ms):
            self._adoption_failed(sequence, "the ticket expired before there was room for the KV")

    def _set_alarm(self) -> None:
        """While idle, wake up for the next lease or ticket that ends."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        due = [
            s.adopt_deadline_ms for s in self._sequences.values() if s.phase is Phase.WAITING and s.must_pull
        ]
        if self._offers.next_expiry_ms is not None:
            due.append(self._offers.next_expiry_ms)
        if due:
            delay_s = max(min(due) - self._clock.now_ms(), 0.0) / 1e3
            self._alarm = asyncio.get_running_loop().call_later(delay_s, self._wake.set)

    def _adopted(self, sequence: Sequence, news: HandoffAdopted) -> None:
        self._news.adopted.append(news)
        if self._faults.corrupt_adopted:
            sequence.continuation = sequence.continuation.corrupted()
        self._scheduler.adopted(sequence)
        self._wake.set()

    def _adoption_failed(self, sequence: Sequence, why: str) -> None:
        del self._sequences[sequence.stream]
        self._scheduler.remove(sequence)
        self._adoptions.turn_down(sequence)
        self._fail(sequence.stream, FailureKind.HANDOFF, why)

    def _fail(self, stream: int, kind: FailureKind, message: str, field: str = "") -> None:
        self._news.failed.append(JobFailed(stream, kind, message, field))
        self._wake.set()

    def _die(self, when: str) -> None:
        if self._faults.exit_on_death:
            os._exit(EXIT_CODE_DEAD)
        raise EngineUnhealthy(f"told to die {when}")

    def _loop_ended(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            return
        error = task.exception()
        log.error("sim engine died: %s", error)
        self._sink.on_engine_dead(str(error))
