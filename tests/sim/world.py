"""The planner's world around the real core, with simulated workers and gateways, and injected faults.

Everything happens in one heap of timed calls, ordered by virtual time, so a seed replays exactly.
Messages of one link keep their order; each takes a random time.
"""

import random
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from services.common.domain import (
    Capacity,
    Fingerprint,
    Registration,
    Request,
    Role,
    Sampling,
    TokenColumns,
    TokenLogprobs,
)
from services.common.domain.logprobs import logprobs
from services.common.domain.tokens import tokens
from services.common.limits import DEFAULTS
from services.planner.world.mesh import CoreWorld
from services.router.core import CoreConfig
from services.router.core.actions import EndStream, RefuseWorker
from services.router.core.events import (
    CancelRequested,
    Event,
    GatewayAttached,
    GatewayDetached,
    Submitted,
    Tick,
    WorkerAttached,
)
from tests.sim.worker import SimWorker

LIMITS = replace(DEFAULTS, queue_wait_ms_max=4_000, queue_requests_max=40)
CONFIG = CoreConfig(
    limits=LIMITS,
    local_prompt_tokens_max=16,
    prefill_timeout_ms=2_000,
    stall_timeout_ms=3_000,
    role_dwell_ms_min=500,
    canary_interval_ms=3_000,
)
VOCABULARY = 50_000
TICK_MS = 50.0
REST_SLICE_MS = 500.0


def expected_token(prompt: "tokens", position: int) -> int:
    """The token that every honest engine generates at a position after a prompt."""
    return hash((prompt[0], len(prompt), position)) % VOCABULARY


def expected_logprobs(token_id: int, alternatives: int) -> TokenLogprobs:
    """What every honest engine says of a token, in numbers that 32 bits hold exactly."""
    beside = range(token_id, token_id + alternatives)
    top = logprobs([-(i % 64) / 8 for i in beside])
    return TokenLogprobs(alternatives, logprobs([-(token_id % 128) / 8]), tokens(beside), top)


@dataclass
class Caller:
    """What one submitted request has seen."""

    request: Request
    session: int
    got: list[int] = field(default_factory=list)
    described: list[TokenLogprobs] = field(default_factory=list)
    """Of what it got, if it asked."""
    outcomes: list[EndStream] = field(default_factory=list)
    placed: int = 0
    cancelled: bool = False
    orphaned: bool = False


class World(CoreWorld[SimWorker]):
    """The core, its workers and its callers."""

    def __init__(self, seed: int, config: CoreConfig = CONFIG) -> None:
        super().__init__(config)
        self.random = random.Random(seed)
        self.callers: dict[tuple[int, int], Caller] = {}
        self.refused: list[RefuseWorker] = []
        self.expired = 0
        self._clock_ahead_ms = 0.0
        self.log: list[tuple[float, object]] = []
        """Every event, and after it every action that it led to, with its virtual time."""
        self._sessions, self._streams = count(1), count(1)
        self._tick()

    def way_ms(self) -> float:
        """Each message takes a random time."""
        return self.random.uniform(0.1, 3.0)

    def run_to_rest(self, at_most_ms: float) -> None:
        """Let time pass until nothing is under way any more, or for so long."""
        until_ms = self.now_ms + at_most_ms
        while self.now_ms < until_ms and not self._is_at_rest():
            self.run(self.now_ms + REST_SLICE_MS)

    def _is_at_rest(self) -> bool:
        busy = any(w.jobs or w.offers for w in self.workers.values())
        return not (busy or self.core.state.flights or len(self.core.state.ledger))

    def _tick(self) -> None:
        self.feed(Tick())
        self.at(TICK_MS, self._tick)

    def jump_clock(self) -> None:
        """The router stands still for a while, as on a suspended machine: all that is due comes at once."""
        self._clock_ahead_ms += self.random.uniform(1_000, 10_000)
        self.feed(Tick())

    def stop_canaries(self) -> None:
        """Start no further trial of the sentinel."""
        state = self.core.state
        state.config = replace(state.config, canary_interval_ms=0)

    def feed(self, event: Event) -> None:
        """Tell the core and do what it wants."""
        self.log.append((self.now_ms, event))
        for action in self.tell(event, self.now_ms + self._clock_ahead_ms):
            self.log.append((self.now_ms, action))
            self.perform(action)

    def worker_refused(self, refusal: RefuseWorker) -> None:
        self.refused.append(refusal)

    def stream_placed(self, session: int, stream: int) -> None:
        self.callers[session, stream].placed += 1

    def stream_ended(self, end: EndStream) -> None:
        self.callers[end.session, end.stream].outcomes.append(end)

    def tokens_sent(self, session: int, columns: TokenColumns) -> None:
        begin = 0
        assert columns.is_well_formed()
        for stream, number in zip(columns.streams, columns.counts, strict=True):
            self.callers[session, stream].got.extend(columns.token_ids[begin : begin + number])
            begin += number
        described = columns.logprobs.by_stream() if columns.logprobs is not None else {}
        for stream, those in described.items():
            self.callers[session, stream].described += [those.part(i, i + 1) for i in range(len(those))]

    def add_worker(self, role: Role, name: str = "", model: str = "m", **shape: Any) -> SimWorker:
        """Attach a worker."""
        session = next(self._sessions)
        capacity = Capacity(
            kv_blocks=shape.get("kv_blocks", 200),
            kv_block_size_bytes=1_000,
            max_running_requests=shape.get("max_running_requests", 8),
            max_batched_tokens=shape.get("max_batched_tokens", 512),
            max_model_len_tokens=shape.get("max_model_len_tokens", 1_000),
        )
        fingerprint = Fingerprint(
            model, "d", "f32", "f32", shape.get("block_size_tokens", 16), 1, "sim", "1", "sim"
        )
        registration = Registration(
            name or f"{role.name.lower()}-{session}",
            role,
            fingerprint,
            capacity,
            role_is_fixed=bool(shape.get("role_is_fixed")),
            standby=bool(shape.get("standby")),
            can_replay=bool(shape.get("can_replay")),
            adapters=dict.fromkeys(shape.get("adapters", ()), "digest"),
            embedding_model=shape.get("embedding_model"),
            limits_thinking=bool(shape.get("limits_thinking")),
            vocabulary_size=shape.get("vocabulary_size", 0),
        )
        worker = SimWorker(self, session, registration)
        self.workers[session] = worker
        self.feed(WorkerAttached(session, registration))
        return worker

    def add_gateway(self) -> int:
        """Connect a gateway; returns its session."""
        session = next(self._sessions)
        self.feed(GatewayAttached(session))
        return session

    def lose_gateway(self, session: int) -> None:
        """Cut a gateway off."""
        for (owner, _), caller in self.callers.items():
            if owner == session and not caller.outcomes:
                caller.orphaned = True
        self.feed(GatewayDetached(session))

    def submit(self, session: int, prompt_tokens: int, max_tokens: int, **more: object) -> Caller:
        """Submit a request; its tokens are checkable by `expected_token`."""
        stream = next(self._streams)
        prompt = tokens([stream, *[7] * (prompt_tokens - 2), more.pop("last", 7)][:prompt_tokens])
        named = {name: more.pop(name, None) for name in ("seed", "logprobs", "thinking_tokens_max")}
        sampling = Sampling(max_tokens=max_tokens, **named)
        request = Request(f"r{stream}", more.pop("model", "m"), prompt, sampling, **more)
        caller = Caller(request, session, list(request.delivered))
        self.callers[session, stream] = caller
        self.feed(Submitted(session, stream, request))
        return caller

    def cancel(self, caller: Caller) -> None:
        """Have a caller go away."""
        caller.cancelled = True
        stream = next(s for (_, s), c in self.callers.items() if c is caller)
        self.feed(CancelRequested(caller.session, stream))
