"""A virtual fleet under the router's real core: workers of several tiers, callers, deaths, autoscaling."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from services.common.domain import (
    Capacity,
    Fingerprint,
    FinishReason,
    Registration,
    Request,
    Role,
    Sampling,
    StepOutput,
    TokenColumns,
)
from services.common.domain.tokens import tokens
from services.planner.hardware.engine_spec import EngineSpec
from services.planner.load.ask import Ask
from services.planner.results.gauge import Gauge
from services.planner.results.tally import Tally
from services.planner.world.callers import Callers
from services.planner.world.engine import EngineLimits
from services.planner.world.link import Link, LinkRates
from services.planner.world.mesh import CoreWorld
from services.planner.world.sequence import Sequence
from services.planner.world.speculation import Speculation
from services.planner.world.worker import FleetWorker
from services.router.core import CoreConfig
from services.router.core.actions import EndStream
from services.router.core.events import GatewayAttached, Submitted, Tick, WorkerAttached, WorkerStep
from services.worker.engine.sim.step_times import StepTimes

MODEL = "model"
TICK_MS = 100.0
REPORT_MS = 250.0
"""Between two load reports of a worker, as workers have it; the router's choices follow these."""
LOOKS_EVERY = 4
"""Load reports between two looks at queues and workers."""
GATEWAY_STREAMS_MAX = 4_000
"""Below what the router lets one gateway have; past it the next request comes by another."""
PROMPTS_KEPT_MAX = 4_096
TOKEN_IDS = 1 << 32


@dataclass(frozen=True, slots=True)
class Engine:
    """What a worker of a tier is."""

    times: StepTimes
    limits: EngineLimits
    gpus: int = 1
    context_tokens_max: int = 1 << 20

    @classmethod
    def of(cls, spec: EngineSpec, times: StepTimes, speculation: Speculation | None = None) -> "Engine":
        """The virtual engine of a real one."""
        limits = EngineLimits(
            spec.kv_blocks,
            spec.block_size_tokens,
            spec.running_max,
            spec.batched_tokens_max,
            speculation=speculation,
        )
        return cls(times, limits, spec.tensor_parallel, spec.model.shape.context_tokens_max or 1 << 20)

    @classmethod
    def of_profile(
        cls, spec: EngineSpec, times: StepTimes, speculation: Speculation | None = None
    ) -> "Engine":
        """The virtual engine of a profile, which brings its memory along."""
        engine = cls.of(spec, times, speculation)
        return replace(engine, limits=replace(engine.limits, kv_blocks=times.kv_blocks))

    def running_at_most(self, sequences: int) -> "Engine":
        """The same with a smaller batch."""
        return replace(self, limits=replace(self.limits, running_max=sequences))


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """What holds for all of a run."""

    core: CoreConfig = field(default_factory=CoreConfig)
    link: LinkRates = field(default_factory=LinkRates)
    way_ms: float = 0.3
    """Of a message between router and worker, or gateway."""
    front_ms: float | None = None
    """Of a request before it is at the router; None takes the engine's."""
    seed: int = 1


class FleetWorld(CoreWorld[FleetWorker]):
    """Plays a load on a fleet. `tally` has what callers saw."""

    def __init__(self, engines: Mapping[Role, Engine], options: FleetOptions, tally: Tally) -> None:
        super().__init__(replace(options.core, seed=options.seed))
        self.engines, self.options, self.tally = engines, options, tally
        self.gone: list[FleetWorker] = []
        """Workers that have left or died."""
        front_ms = options.front_ms
        if front_ms is None:
            front_ms = max(engine.times.front_ms for engine in engines.values())
        self.callers = Callers(self, self, tally, front_ms=front_ms, seed=options.seed)
        self.link = Link(options.link)
        self.queues = {Role.PREFILL: Gauge(), Role.DECODE: Gauge()}
        """Requests that wait at the router for a tier."""
        self._sessions = count(1)
        self._reports = 0
        self._asks: dict[str, Ask] = {}
        self._prompts: dict[int, array[int]] = {}
        self._gateways: dict[int, int] = {}
        """Session: streams open there."""
        self._gateway_of: dict[int, int] = {}
        self.at(0.0, self._tick)
        self.at(REPORT_MS, self._report)

    def way_ms(self) -> float:
        """All messages take the same time."""
        return self.options.way_ms

    # workers

    def add_worker(self, role: Role, *, standby: bool = False) -> FleetWorker:
        """A loaded worker attaches."""
        session, engine = next(self._sessions), self.engines[role]
        worker = FleetWorker(
            self, session, self._registration(session, role, standby), engine.times, engine.limits
        )
        self.workers[session] = worker
        self.feed(WorkerAttached(session, worker.registration))
        return worker

    def _registration(self, session: int, role: Role, standby: bool) -> Registration:
        engine = self.engines[role]
        limits = engine.limits
        capacity = Capacity(
            kv_blocks=limits.kv_blocks,
            kv_block_size_bytes=engine.times.kv_token_bytes * limits.block_size_tokens,
            max_running_requests=limits.running_max,
            max_batched_tokens=limits.batched_tokens_max,
            max_model_len_tokens=min(engine.context_tokens_max, limits.kv_blocks * limits.block_size_tokens),
        )
        # Tiers may differ in tensor parallelism: the handoff's connector splits and joins KV heads.
        prints = Fingerprint(MODEL, "", "", "", limits.block_size_tokens, 1, "planner", "1", "planner")
        name = f"{role.name.lower()}-{session}"
        return Registration(name, role, prints, capacity, standby=standby, can_replay=True)

    def forget(self, worker: FleetWorker) -> None:
        """A worker has left."""
        self.workers.pop(worker.session, None)
        self.link.forget(worker.session)
        self.gone.append(worker)

    def owner_of(self, handoff_id: str) -> FleetWorker | None:
        """The worker that still offers it."""
        owner = self.workers.get(int(handoff_id.partition("/")[0]))
        return owner if owner is not None and handoff_id in owner.offers else None

    def settle_offer(self, sequence: Sequence) -> None:
        """Nobody will adopt what a job was to take over."""
        ticket = sequence.job.handoff
        owner = self.owner_of(ticket.handoff_id) if ticket is not None else None
        if owner is not None and ticket is not None:
            owner.release(ticket.handoff_id)

    def transfer_ms(self, source: int, target: int, size_bytes: float, kv_tokens: int) -> float:
        """How long some KV is on its way from now on."""
        return self.link.transfer_ms(source, target, size_bytes, kv_tokens // 16, self.now_ms)

    def take_step(self, worker: FleetWorker, step: StepOutput) -> None:
        """A worker's news arrive, if it still lives."""
        if worker.detached_ms is None:
            self.feed(WorkerStep(worker.session, step))

    # requests

    def submit(self, stream: int, ask: Ask) -> None:
        """A request comes to the router."""
        name = str(stream)
        self._asks[name] = ask
        session = self._gateway()
        self._gateway_of[stream] = session
        self._gateways[session] += 1
        sampling = Sampling(max_tokens=ask.answer_tokens)
        request = Request(name, MODEL, self._prompt(stream, ask), sampling)
        self.feed(Submitted(session, stream, request))

    def answer_tokens(self, request_id: str) -> int:
        """How long a request's answer will be."""
        return self._asks[request_id].answer_tokens

    def pieces(self, request_id: str) -> tuple[int, ...]:
        """What its prompt begins with."""
        return self._asks[request_id].pieces

    def prefix_stored(self, worker: FleetWorker, sequence: Sequence) -> None:
        """A prompt has run, so its prefix is cached there."""

    def tokens_sent(self, session: int, columns: TokenColumns) -> None:
        """Tokens come to their callers."""
        for stream in columns.streams:
            self.callers.first_token(stream)

    def stream_ended(self, end: EndStream) -> None:
        """A request has ended."""
        del self._asks[str(end.stream)]
        self._gateways[self._gateway_of.pop(end.stream)] -= 1
        refusal = end.error.reason if end.error is not None else ""
        if end.reason is FinishReason.CANCELLED:
            refusal = "cancelled"
        self.callers.ended(end.stream, refusal)

    def _gateway(self) -> int:
        for session, streams in self._gateways.items():
            if streams < GATEWAY_STREAMS_MAX:
                return session
        session = next(self._sessions)
        self._gateways[session] = 0
        self.feed(GatewayAttached(session))
        return session

    def _prompt(self, stream: int, ask: Ask) -> "array[int]":
        """Text of that length that nobody else sends: equal ones would be suspected when workers die."""
        found = self._prompts.get(ask.prompt_tokens)
        if found is None:
            if len(self._prompts) >= PROMPTS_KEPT_MAX:
                self._prompts.clear()
            found = self._prompts[ask.prompt_tokens] = tokens([0]) * ask.prompt_tokens
        prompt = found[:]
        prompt[-1] = stream % TOKEN_IDS
        return prompt

    def _tick(self) -> None:
        self.feed(Tick())
        self.at(TICK_MS, self._tick)

    def _report(self) -> None:
        for worker in list(self.workers.values()):
            worker.report()
        self._reports += 1
        if self._reports % LOOKS_EVERY == 0:
            self._look()
        self.at(REPORT_MS, self._report)

    def _look(self) -> None:
        """Note queues and workers as they are."""
        pool = self.core.state.fleet.pools.get(MODEL)
        fleet = self.tally.series.of(self.now_ms).fleet
        for role, gauge in self.queues.items():
            name = role.name.lower()
            waiting = pool.waiting(role)[0] if pool is not None else 0
            gauge.add(waiting)
            fleet[f"{name}_queue"] = waiting
            fleet[f"{name}_workers"] = sum(w.registration.role is role for w in self.workers.values())
