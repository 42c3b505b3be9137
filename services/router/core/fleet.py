"""The fleet: workers, what they hold, and the pools that they form."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from services.common.domain import Capacity, EmbeddingModel, LoadReport, Registration, Role
from services.router.core.breaker import Breaker
from services.router.core.config import CoreConfig
from services.router.core.expected_output import ExpectedOutput
from services.router.core.fairness import FairShares
from services.router.core.flight import Flight
from services.router.core.outcomes import RecentOutcomes
from services.router.core.queues import WaitQueue
from services.router.core.rates import Mean, Rate

NOTHING = Capacity(0, 0, 0, 0, 0)


class WorkerState(IntEnum):
    """Whether a worker gets work."""

    SERVING = 1
    DRAINING = 2
    STANDBY = 3


class Worker:
    """One attached worker and what the router has given it.

    The counts are the router's own (seats taken and left), not the worker's reports: a report is always late.
    """

    __slots__ = (  # every placement reads several workers, and each place in memory counts
        "_last_stream",
        "_load",
        "blocks_taken",
        "breaker",
        "capacity",
        "failed_tenants",
        "flips_to",
        "heard_ms",
        "jobs",
        "leaves",
        "pool",
        "prefill_tokens_taken",
        "registration",
        "role",
        "role_since_ms",
        "session",
        "slots_reported",
        "slots_taken",
        "state",
        "step_ms_per_request",
        "step_ms_reported",
        "succeeded_ms",
    )

    def __init__(self, session: int, registration: Registration, now_ms: float) -> None:
        self.session = session
        self.registration = registration
        self.capacity = NOTHING if registration.is_shared else registration.capacity
        """What it can hold of this router's work: all that it registered, or what it has granted."""
        self.role = registration.role
        self.role_since_ms = now_ms
        self.flips_to: Role | None = None
        """The role that it takes once it is empty."""
        self.state = WorkerState.STANDBY if registration.standby else WorkerState.SERVING
        self.leaves = False
        """It said itself that it shuts down."""
        self.breaker = Breaker()
        self.jobs: dict[int, Flight] = {}
        self.heard_ms = now_ms
        """When it last sent news of a job, or got one while it had none."""
        self.succeeded_ms = -math.inf
        """When a job last did there what it was to do."""
        self.failed_tenants: set[str] = set()
        """Whose jobs the engine has failed since."""
        self.slots_taken = 0
        self.blocks_taken = 0
        self.prefill_tokens_taken = 0
        self.load = LoadReport()
        self.pool: Pool | None = None
        """`None` once detached."""
        self._last_stream = 0

    @property
    def load(self) -> LoadReport:
        """What it last said that it holds."""
        return self._load

    @load.setter
    def load(self, load: LoadReport) -> None:
        """Take a report in. Requests given and taken from here on are what the report does not count."""
        self._load = load
        self.slots_reported = self.slots_taken
        """Slots taken when the report came."""
        self.step_ms_reported = load.step_ms
        self.step_ms_per_request = load.step_ms / (1 + load.running_requests)
        """How much longer the step is expected to get with one more request.

        A step that only decodes grows by less, but one that also runs the new request's prompt by more.
        """

    @property
    def worker_id(self) -> str:
        """The worker's own name."""
        return self.registration.worker_id

    @property
    def title(self) -> str:
        """What operators read of it."""
        return f"worker {self.worker_id}"

    @property
    def is_empty(self) -> bool:
        """Whether nothing runs there and no offer waits there."""
        return not self.jobs and self.slots_taken == self.blocks_taken == 0

    @property
    def is_serving(self) -> bool:
        """Whether it is meant to get work."""
        return self.state is WorkerState.SERVING and self.flips_to is None

    def takes_work(self, now_ms: float) -> bool:
        """Whether new work may go there; one request at a time while its breaker is half-open."""
        if not self.is_serving or self.breaker.is_open(now_ms):
            return False
        return not self.slots_taken or not self.breaker.is_half_open(now_ms)

    def runs_adapter(self, lora: str) -> bool:
        """Whether it can generate with this LoRA adapter; without one ("") every worker can."""
        return not lora or lora in self.registration.adapters

    def blocks_for(self, text_tokens: int) -> int:
        """KV blocks that a text of this length fills."""
        return -(-text_tokens // self.registration.fingerprint.block_size_tokens)

    def has_room(self, blocks: int) -> bool:
        """Whether so many more KV blocks fit beside what it holds; an empty worker takes anything."""
        capacity = self.capacity
        if self.slots_taken < capacity.max_running_requests:
            taken = self.blocks_taken
            is_whole = capacity.kv_blocks == self.registration.capacity.kv_blocks
            is_empty = taken == 0 and self.slots_taken == 0 and is_whole
            return taken + blocks <= capacity.kv_blocks or is_empty
        return False

    def succeeded(self, now_ms: float) -> bool:
        """A job has done what it was to do; True when the breaker closes by it."""
        self.succeeded_ms = now_ms
        self.failed_tenants.clear()
        return self.breaker.success()

    def take(self, slots: int, blocks: int, prefill_tokens: int) -> None:
        """Count capacity as taken; negative numbers give it back."""
        self.slots_taken += slots
        self.blocks_taken += blocks
        self.prefill_tokens_taken += prefill_tokens
        if self.pool is not None and self.role.can_decode() and self.is_serving:
            self.pool.decode_blocks_taken += blocks

    def start(self, flight: Flight, now_ms: float) -> int:
        """Make the flight's current job this worker's; returns the job's stream number."""
        if not self.jobs:
            self.heard_ms = now_ms
        self._last_stream += 1
        self.jobs[self._last_stream] = flight
        flight.worker, flight.job_stream = self, self._last_stream
        flight.job_number += 1
        flight.job_since_ms = now_ms
        return self._last_stream


class Seat:
    """A hold on part of a worker's capacity; left exactly once however often `leave` is called."""

    __slots__ = ("_prefill_tokens", "_slots", "blocks", "worker")

    def __init__(self, worker: Worker, blocks: int, prefill_tokens: int = 0) -> None:
        self.worker = worker
        self._slots, self.blocks, self._prefill_tokens = 1, blocks, prefill_tokens
        worker.take(1, blocks, prefill_tokens)

    def stop_running(self) -> None:
        """Keep only the KV blocks: the job is done and its KV waits."""
        self.worker.take(-self._slots, 0, -self._prefill_tokens)
        self._slots = self._prefill_tokens = 0

    def leave(self) -> None:
        """Give everything back."""
        self.worker.take(-self._slots, -self.blocks, -self._prefill_tokens)
        self._slots = self.blocks = self._prefill_tokens = 0


@dataclass(slots=True, eq=False)
class Pool:
    """The workers of one model and the two queues before them."""

    model: str
    shares: FairShares
    prefill_queue: WaitQueue
    decode_queue: WaitQueue
    expected_output: ExpectedOutput
    workers: dict[int, Worker] = field(default_factory=dict)
    placements: Rate = field(default_factory=Rate)
    freed_blocks: Rate = field(default_factory=Rate)
    """KV blocks of decode workers."""
    first_token_ms: Mean = field(default_factory=Mean)
    """From placement to first token."""
    outcomes: RecentOutcomes = field(default_factory=RecentOutcomes)
    changes: int = 0
    """Counts changes of who works for the pool, and as what."""
    decode_blocks: int = 0
    decode_blocks_taken: int = 0
    block_size_tokens: int = 0
    max_model_len_tokens: int = 0
    """The longest text that every worker can hold; 0 without workers."""
    adapters: frozenset[str] = frozenset()
    """LoRA adapters with which at least one worker answers."""
    adapter_digests: dict[str, str] = field(default_factory=dict)
    """Of all workers' adapters; those of one name are the same."""
    embedding_model: EmbeddingModel | None = None
    """Set where the model gives vectors: its workers only prefill, and nobody decodes."""
    limits_thinking: bool = False
    """Whether every worker keeps a request's `thinking_tokens_max`."""
    vocabulary_size: int = 0
    """Token ids that every worker's model can read lie below it; 0 where none has said."""
    can_replay: bool = False
    """Whether every decode worker goes on exactly with any sampling."""
    waits_for_decode: bool = False
    """Whether the oldest waiting request lacks a decode worker, whichever queue it is in."""

    def recount(self) -> None:
        """Sum the decode tier's blocks anew, after the fleet has changed."""
        self.changes += 1
        decode = [w for w in self.workers.values() if w.role.can_decode() and w.is_serving]
        self.decode_blocks = sum(w.registration.capacity.kv_blocks for w in decode)
        self.decode_blocks_taken = sum(w.blocks_taken for w in decode)
        self.max_model_len_tokens = min(
            (w.registration.capacity.max_model_len_tokens for w in self.workers.values()), default=0
        )
        answering = decode if self.embedding_model is None else filter(_serves, self.workers.values())
        self.adapters = frozenset(name for w in answering for name in w.registration.adapters)
        self.adapter_digests = {
            name: digest for w in self.workers.values() for name, digest in w.registration.adapters.items()
        }
        members = self.workers.values()
        self.limits_thinking = bool(members) and all(w.registration.limits_thinking for w in members)
        known = (w.registration.vocabulary_size for w in members if w.registration.vocabulary_size)
        self.vocabulary_size = min(known, default=0)
        self.can_replay = bool(decode) and all(w.registration.can_replay for w in decode)

    def waiting(self, role: Role) -> tuple[int, int]:
        """Requests and tokens that wait for more workers of this role: the tier's scaling signal.

        A long prompt waits in the prefill queue, but while no decode worker can take the oldest
        request, more prefill workers would not help it.
        """
        counted = [self.decode_queue] if role is Role.DECODE else []
        if (role is Role.DECODE) == self.waits_for_decode:
            counted.append(self.prefill_queue)
        return sum(len(q) for q in counted), sum(q.tokens for q in counted)

    def prefill_workers(self, now_ms: float) -> Iterator[Worker]:
        """Those that offer handoffs and take work."""
        return (w for w in self.workers.values() if w.role.can_prefill_for_others() and w.takes_work(now_ms))

    def decode_workers(self, now_ms: float) -> Iterator[Worker]:
        """Those that generate and take work."""
        return (w for w in self.workers.values() if w.role.can_decode() and w.takes_work(now_ms))


def _serves(worker: Worker) -> bool:
    return worker.is_serving


class Fleet:
    """All workers by session, all pools by model. A pool outlives its last worker: one may come back."""

    def __init__(self, config: CoreConfig) -> None:
        self.workers: dict[int, Worker] = {}
        self.pools: dict[str, Pool] = {}
        self._config = config

    def attach(self, worker: Worker) -> Pool:
        """Add a worker to its model's pool."""
        model = worker.registration.fingerprint.model
        pool = self.pools.get(model)
        if pool is None:
            pool = self.pools[model] = self._new_pool(model)
        self.workers[worker.session] = pool.workers[worker.session] = worker
        worker.pool = pool
        pool.block_size_tokens = worker.registration.fingerprint.block_size_tokens
        pool.embedding_model = worker.registration.embedding_model
        pool.recount()
        return pool

    def _new_pool(self, model: str) -> Pool:
        limits, ageing_ms = self._config.limits, self._config.ageing_ms
        shares = FairShares(self._config.tenant_weights)
        prefill, decode = (
            WaitQueue(limits.queue_requests_max, limits.queue_tokens_max, shares, ageing_ms) for _ in "pd"
        )
        expected = ExpectedOutput(
            self._config.expected_output_tokens, self._config.expected_output_tokens_max
        )
        return Pool(model, shares, prefill, decode, expected)

    def detach(self, session: int) -> Worker | None:
        """Remove a worker; `None` when it is unknown."""
        worker = self.workers.pop(session, None)
        if worker is not None and worker.pool is not None:
            pool, worker.pool = worker.pool, None
            del pool.workers[session]
            pool.recount()
        return worker
