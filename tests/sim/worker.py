"""A simulated worker: what an engine does, in virtual time, with every fault on request."""

from dataclasses import dataclass, field
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
    KvChange,
    Registration,
    StepOutput,
    TokenLogprobs,
)
from services.common.domain.embedding import vector
from services.common.domain.tokens import tokens
from services.router.core.events import WorkerDetached, WorkerStep

if TYPE_CHECKING:
    from tests.sim.world import World

LEASE_MS = 8_000


@dataclass
class Faults:
    """What goes wrong at this worker."""

    offer_never: bool = False
    adopt_fails: bool = False
    adopt_never: bool = False
    job_fails: FailureKind | None = None
    chokes_on: int = 0
    """It fails each job with this token at its prompt's end, as it fails all by `job_fails`; 0 is none."""
    choke: FailureKind = FailureKind.INVALID
    stuck: bool = False
    too_many_tokens: bool = False
    corrupts_adopted: bool = False
    """What it generates from KV handed over is wrong."""
    repeats_news: bool = False
    """Offers, adoptions, ends and releases are each told twice."""
    releases_never: bool = False
    """It keeps what it has offered, and says nothing of it."""
    late_kv_events_ms: float = 0.0
    slow: float = 1.0


@dataclass
class SimWorker:
    """One worker's engine and session."""

    world: "World"
    session: int
    registration: Registration
    faults: Faults = field(default_factory=Faults)
    jobs: dict[int, Job] = field(default_factory=dict)
    offers: dict[str, Job] = field(default_factory=dict)
    generated: dict[int, int] = field(default_factory=dict)
    jobs_started: int = 0
    newest_job: int = 0
    alive: bool = True
    most_blocks: int = 0

    def send(self, step: StepOutput) -> None:
        """Send a step over the link, unless dead or stuck."""
        if self.faults.repeats_news:
            for part in (step.offered, step.adopted, step.finished, step.failed, step.released):
                part.extend(part[:])
        if not self.faults.stuck:
            self.world.over_link("up", self.session, lambda: self._deliver(step))

    def _deliver(self, step: StepOutput) -> None:
        if self.alive:
            self.world.feed(WorkerStep(self.session, step))

    def die(self) -> None:
        """Vanish at once, with all that is on the way."""
        self.alive = False
        self.world.workers.pop(self.session, None)
        self.jobs.clear()
        self.offers.clear()
        self.world.feed(WorkerDetached(self.session, self.newest_job))

    def start(self, job: Job) -> None:
        """Take a job."""
        assert not job.lora or job.lora in self.registration.adapters, "it cannot run that adapter"
        self.jobs_started += 1
        self.newest_job = job.stream
        self.jobs[job.stream] = job
        self.generated[job.stream] = 0
        if self.faults.job_fails is not None:
            self._later(5.0, lambda: self._fail(job, self.faults.job_fails or FailureKind.ENGINE))
        elif self.faults.chokes_on and job.prompt[-1] == self.faults.chokes_on:
            self._later(5.0, lambda: self._fail(job, self.faults.choke))
        elif job.kind is JobKind.PREFILL:
            self._later(20.0 + len(job.prompt) * 0.2, lambda: self._offer(job))
        elif job.kind is JobKind.ADOPT:
            self._later(5.0, lambda: self._adopt(job))
        elif job.kind is JobKind.EMBED:
            self._later(20.0 + len(job.prompt) * 0.2, lambda: self._embed(job))
        else:
            self._later(20.0 + len(job.prompt) * 0.4, lambda: self._generate(job))

    def _later(self, delay_ms: float, call) -> None:
        self.world.at(delay_ms * self.faults.slow * self.world.random.uniform(0.7, 1.3), call)

    def _is_live(self, job: Job) -> bool:
        return self.alive and self.jobs.get(job.stream) is job

    def _fail(self, job: Job, kind: FailureKind) -> None:
        if self._is_live(job):
            del self.jobs[job.stream]
            self.send(StepOutput(failed=[JobFailed(job.stream, kind, "told to", "guided_json")]))

    def _offer(self, job: Job) -> None:
        if not self._is_live(job) or self.faults.offer_never:
            return
        del self.jobs[job.stream]
        handoff_id = f"{self.session}/{job.stream}"
        self.offers[handoff_id] = job
        text = len(job.prompt) + len(job.delivered)
        blocks = -(-text // self.registration.fingerprint.block_size_tokens)
        offer = HandoffOffered(
            job.stream,
            handoff_id,
            b"{}",
            text,
            blocks,
            blocks * 1_000,
            LEASE_MS,
            tokens([self._next_token(job, 0)]),
            logprobs=self._describe(job, [self._next_token(job, 0)]),
        )
        self.send(StepOutput(offered=[offer]))
        self._tell_kv(job)
        self.world.at(LEASE_MS, lambda: self._settle(handoff_id, expired=True))

    def _embed(self, job: Job) -> None:
        if self._is_live(job):
            del self.jobs[job.stream]
            made = vector([float(job.prompt[0]), float(len(job.prompt))])
            self.send(StepOutput(finished=[JobFinished(job.stream, FinishReason.STOP, vector=made)]))

    def _tell_kv(self, job: Job) -> None:
        """The prompt's first block is cached; some time later it is evicted."""
        size = self.registration.fingerprint.block_size_tokens
        name = bytes(str((job.prompt[0], len(job.prompt))), "ascii")
        block = job.prompt[:size]
        if len(block) == size:
            stored = KvChange((name,), b"", (), block, size, job.cache_salt)
            late_ms = self.faults.late_kv_events_ms
            self.world.at(late_ms, lambda: self.send(StepOutput(kv_changes=[stored])))
            gone = KvChange(removed_block_hashes=(name,), block_size_tokens=size)
            self.world.at(late_ms + 3_000.0, lambda: self.send(StepOutput(kv_changes=[gone])))

    def _settle(self, handoff_id: str, *, expired: bool = False) -> None:
        if self.faults.releases_never:
            return
        if self.alive and self.offers.pop(handoff_id, None) is not None:
            self.world.expired += expired
            self.send(StepOutput(released=[HandoffReleased(handoff_id, expired)]))

    def release(self, handoff_id: str) -> None:
        """Free an offer."""
        self._settle(handoff_id)

    def _adopt(self, job: Job) -> None:
        if not self._is_live(job) or self.faults.adopt_never:
            return
        ticket = job.handoff
        owner = next((w for w in self.world.workers.values() if ticket.handoff_id in w.offers), None)
        if owner is None or self.faults.adopt_fails:
            self._fail(job, FailureKind.HANDOFF)
            return
        owner._settle(ticket.handoff_id)
        self.send(StepOutput(adopted=[HandoffAdopted(job.stream, ticket.handoff_id, 1_000, 3.0)]))
        self._later(10.0, lambda: self._generate(job))

    def _next_token(self, job: Job, already: int) -> int:
        from tests.sim.world import expected_token

        return expected_token(job.prompt, len(job.delivered) + already)

    def _describe(self, job: Job, ids: list[int]) -> TokenLogprobs | None:
        from tests.sim.world import expected_logprobs

        if job.sampling.logprobs is None:
            return None
        all_of_them = TokenLogprobs(job.sampling.logprobs)
        for token_id in ids:
            all_of_them.extend(expected_logprobs(token_id, job.sampling.logprobs))
        return all_of_them

    def _generate(self, job: Job) -> None:
        if not self._is_live(job):
            return
        already = self.generated[job.stream]
        wanted = min(self.world.random.choice([1, 1, 1, 3]), job.tokens_left - already)
        step = StepOutput()
        ids = [self._next_token(job, already + i) for i in range(wanted)]
        if self.faults.corrupts_adopted and job.kind is JobKind.ADOPT:
            ids = [i ^ 1 for i in ids]
        self.generated[job.stream] += wanted
        done = self.generated[job.stream] >= job.tokens_left
        if done and self.faults.too_many_tokens:
            ids.append(99)
        step.tokens.add(job.stream, tokens(ids))
        described = self._describe(job, ids)
        if described is not None:
            step.tokens.add_logprobs(job.stream, described)
        if done:
            del self.jobs[job.stream]
            step.finished.append(JobFinished(job.stream, FinishReason.LENGTH))
        self.send(step)
        if not done:
            self._later(10.0, lambda: self._generate(job))

    def abort(self, stream: int) -> None:
        """End a job; an adoption not yet done drops the handoff."""
        job = self.jobs.pop(stream, None)
        if job is not None and job.handoff is not None:
            for worker in list(self.world.workers.values()):
                worker._settle(job.handoff.handoff_id)
