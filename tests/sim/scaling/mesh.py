"""The whole core with batching engines and returning clients, in virtual time: what scaling does to a burst.

Engines have the timing of `services.worker.engine.sim`: a decode step costs a floor and a little for each
sequence, prompts run one after another. Links cost nothing, processes come after a cold start.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from services.common.domain import (
    Capacity,
    Fingerprint,
    FinishReason,
    HandoffAdopted,
    HandoffOffered,
    HandoffReleased,
    Job,
    JobFinished,
    JobKind,
    LoadReport,
    Registration,
    Request,
    Role,
    Sampling,
    StepOutput,
)
from services.common.domain.tokens import tokens
from services.router.core import CoreConfig, RouterCore
from services.router.core.actions import EndStream, ReleaseHandoff, SendTokenEach, SendTokens, StartJob
from services.router.core.events import (
    GatewayAttached,
    ScalerAttached,
    Submitted,
    Tick,
    WorkerAttached,
    WorkerDetached,
    WorkerLoad,
    WorkerStep,
)

TICK_MS, SUPERVISE_MS, LOAD_REPORT_MS = 100.0, 100.0, 250.0
MODEL, GATEWAY, SUPERVISOR = "m", 1, 2


@dataclass(frozen=True)
class EngineShape:
    """The engines' numbers."""

    step_ms: float = 14.0
    sequence_ms: float = 0.02
    prefill_tokens_per_ms: float = 12.0
    handoff_ms: float = 3.0
    seats: int = 64
    batched_tokens: int = 1_024
    kv_blocks: int = 8_192
    cold_start_ms: float = 8_000.0


@dataclass
class Asked:
    """One request as its client saw it."""

    began_ms: float
    first_ms: float = 0.0
    last_ms: float = 0.0
    tokens: int = 0
    end: FinishReason | None = None

    @property
    def ttft_ms(self) -> float:
        """Time to the first token."""
        return self.first_ms - self.began_ms

    @property
    def tpot_ms(self) -> float:
        """Time per further token."""
        return (self.last_ms - self.first_ms) / max(1, self.tokens - 1)

    @property
    def e2e_ms(self) -> float:
        """Time to the last token."""
        return self.last_ms - self.began_ms


@dataclass(eq=False)
class Engine:
    """One worker: prompts one after another, sequences all at once."""

    mesh: "VirtualMesh"
    session: int
    role: Role
    name: str
    prompts: deque[Job] = field(default_factory=deque)
    running: dict[int, list[int]] = field(default_factory=dict)
    """Stream: tokens still to come, as a list of one."""
    is_stepping: bool = False
    is_prefilling: bool = False

    def start(self, job: Job) -> None:
        """Take a job."""
        if job.kind is JobKind.ADOPT:
            self.mesh.at(self.mesh.shape.handoff_ms, lambda: self._adopt(job))
        else:
            self.prompts.append(job)
            self._prefill()

    def _prefill(self) -> None:
        if self.is_prefilling or not self.prompts:
            return
        self.is_prefilling, shape = True, self.mesh.shape
        took_ms = max(shape.step_ms, len(self.prompts[0].prompt) / shape.prefill_tokens_per_ms)
        self.mesh.at(took_ms, self._prefilled)

    def _prefilled(self) -> None:
        self.is_prefilling, job = False, self.prompts.popleft()
        if job.kind is JobKind.LOCAL:
            self._run(job, job.tokens_left)
        else:
            handoff_id, text = f"{self.session}/{job.stream}", len(job.prompt)
            blocks = -(-text // 16)
            offer = HandoffOffered(job.stream, handoff_id, b"", text, blocks, blocks, 30_000, tokens([1]))
            self.mesh.feed(WorkerStep(self.session, StepOutput(offered=[offer])))
        self._prefill()

    def release(self, handoff_id: str) -> None:
        """The KV has been taken, or nobody wants it."""
        self.mesh.feed(WorkerStep(self.session, StepOutput(released=[HandoffReleased(handoff_id)])))

    def _adopt(self, job: Job) -> None:
        assert job.handoff is not None
        adopted = HandoffAdopted(job.stream, job.handoff.handoff_id, 1_000, self.mesh.shape.handoff_ms)
        self.mesh.feed(WorkerStep(self.session, StepOutput(adopted=[adopted])))
        owner = self.mesh.engines.get(int(job.handoff.handoff_id.partition("/")[0]))
        if owner is not None:
            owner.release(job.handoff.handoff_id)
        self._run(job, job.tokens_left)

    def _run(self, job: Job, left: int) -> None:
        self.running[job.stream] = [left]
        if not self.is_stepping:
            self._step_later()

    def _step_later(self) -> None:
        self.is_stepping = bool(self.running)
        if self.is_stepping:
            self.mesh.at(self.step_ms, self._step)

    @property
    def step_ms(self) -> float:
        """How long the next step takes."""
        return self.mesh.shape.step_ms + len(self.running) * self.mesh.shape.sequence_ms

    def _step(self) -> None:
        step = StepOutput()
        for stream, left in list(self.running.items()):
            step.tokens.add(stream, ONE)
            left[0] -= 1
            if not left[0]:
                del self.running[stream]
                step.finished.append(JobFinished(stream, FinishReason.LENGTH))
        self.mesh.feed(WorkerStep(self.session, step))
        self._step_later()


ONE = tokens([7])


class VirtualMesh:
    """Core, engines, clients and a supervisor."""

    def __init__(self, config: CoreConfig, shape: EngineShape, seed: int = 1) -> None:
        self.shape, self.core, self.now_ms = shape, RouterCore(config), 0.0
        self.engines: dict[int, Engine] = {}
        self.asked: list[Asked] = []
        self.seen: list[dict[str, float | str]] = []
        """Queue and workers of each tier, once a tenth of a second."""
        self._random, self._order = random.Random(seed), count()
        self._sessions, self._streams = count(10), count(1)
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._open: dict[int, tuple[Asked, Callable[[], None]]] = {}
        self._coming = {Role.PREFILL: 0, Role.DECODE: 0}
        self.feed(GatewayAttached(GATEWAY))
        self.at(0.0, self._tick)
        self.at(0.0, self._report)

    def at(self, delay_ms: float, call: Callable[[], None]) -> None:
        """Call something later."""
        heapq.heappush(self._calls, (self.now_ms + delay_ms, next(self._order), call))

    def run(self, for_ms: float) -> None:
        """Let time pass."""
        until_ms = self.now_ms + for_ms
        while self._calls[0][0] <= until_ms:
            self.now_ms, _, call = heapq.heappop(self._calls)
            call()
        self.now_ms = until_ms

    def add(self, role: Role, *, standby: bool = False) -> None:
        """A loaded worker attaches."""
        session, shape = next(self._sessions), self.shape
        prints = Fingerprint(MODEL, "d", "f", "f", 16, 1, "e", "1", "c")
        capacity = Capacity(shape.kv_blocks, 1_000, shape.seats, shape.batched_tokens, 32_768)
        name = f"{role.name.lower()}-{session}"
        self.engines[session] = Engine(self, session, role, name)
        self.feed(WorkerAttached(session, Registration(name, role, prints, capacity, standby=standby)))

    def supervise(self) -> None:
        """Start and end workers by what the scaler says, from here on."""
        self.feed(ScalerAttached(SUPERVISOR))
        self.at(0.0, self._supervise)

    def clients(self, number: int, until_ms: float, spread_ms: float) -> None:
        """So many ask again and again until then; they begin evenly spread over a time."""
        for i in range(number):
            self.at(spread_ms * i / number, lambda: self._ask_until(until_ms))

    def _ask_until(self, until_ms: float) -> None:
        if self.now_ms < until_ms:
            self.ask(500, 200, lambda: self._ask_until(until_ms))

    def ask(self, prompt_tokens: int, answer_tokens: int, then: Callable[[], None]) -> None:
        """One request."""
        stream, asked = next(self._streams), Asked(self.now_ms)
        self.asked.append(asked)
        self._open[stream] = asked, then
        prompt = tokens([stream, *[7] * (prompt_tokens - 1)])
        request = Request(f"r{stream}", MODEL, prompt, Sampling(max_tokens=answer_tokens))
        self.feed(Submitted(GATEWAY, stream, request))

    def feed(self, event: object) -> None:
        """Tell the core and do what it wants."""
        for action in self.core.on_event(event, self.now_ms):  # type: ignore[arg-type]
            match action:
                case StartJob(session, job):
                    self.engines[session].start(job)
                case ReleaseHandoff(session, handoff_id):
                    self.engines[session].release(handoff_id)
                case SendTokens(_, columns):
                    for stream, number in zip(columns.streams, columns.counts, strict=True):
                        self._token(self._open[stream][0], number)
                case SendTokenEach(_, streams):
                    for stream in streams:
                        self._token(self._open[stream][0], 1)
                case EndStream(_, stream, reason):
                    asked, then = self._open.pop(stream)
                    asked.end = reason
                    # A client that is refused asks again a second later, or it would never stop.
                    self.at(0.1 if reason is FinishReason.LENGTH else 1_000.0, then)

    def _token(self, asked: Asked, number: int) -> None:
        asked.first_ms = asked.first_ms or self.now_ms
        asked.last_ms = self.now_ms
        asked.tokens += number

    def _tick(self) -> None:
        self.feed(Tick())
        for (_, tier), watched in self.core.scaling.tiers.items():
            if watched.decision is not None:
                self.seen.append(
                    {
                        "at_ms": self.now_ms,
                        "tier": tier.name.lower(),
                        "desired": watched.decision.desired,
                        "serving": watched.signal.serving,
                        "idle": watched.signal.at_hand,
                        "queued_requests": watched.signal.queued_requests,
                    }
                )
        self.at(TICK_MS, self._tick)

    def _report(self) -> None:
        for engine in self.engines.values():
            report = LoadReport(running_requests=len(engine.running), step_ms=engine.step_ms)
            self.feed(WorkerLoad(engine.session, report))
        self.at(LOAD_REPORT_MS, self._report)

    def _supervise(self) -> None:
        scaling = self.core.scaling
        for worker in scaling.steward.stoppable():
            del self.engines[worker.session]
            self.feed(WorkerDetached(worker.session, 0))
        for (_, tier), watched in scaling.tiers.items():
            if watched.decision is not None:
                there = scaling.attached(MODEL, tier) + self._coming[tier]
                for _ in range(watched.decision.replicas - there):
                    self._start(tier, standby=watched.decision.spares > 0)
        self.at(SUPERVISE_MS, self._supervise)

    def _start(self, tier: Role, *, standby: bool) -> None:
        self._coming[tier] += 1

        def loaded() -> None:
            self._coming[tier] -= 1
            self.add(tier, standby=standby)

        self.at(self.shape.cold_start_ms, loaded)
