"""The fleet at one moment, in plain numbers: what operators, the verdict and the metrics read.

It is read-only and made anew when asked for, also in the thread in which metrics are scraped, so it copies
every collection before it reads it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from services.common.domain import Role
from services.router.core.breaker import Breaker
from services.router.core.fleet import Pool, Worker
from services.router.core.handoffs import HandoffLedger
from services.router.core.pairs import Pair
from services.router.core.scaling.scaling import Scaling, Watched
from services.router.core.state import State

TIERS = (Role.PREFILL, Role.DECODE)


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One attached worker."""

    worker_id: str
    model: str
    role: Role
    state: str
    """"serving", "draining", "standby", "flipping" or "suspended"."""
    address: str = ""
    running_requests: int = 0
    slots: int = 0
    """Requests that it runs at once at most."""
    slots_taken: int = 0
    kv_blocks: int = 0
    kv_blocks_taken: int = 0
    """Reserved by this router's requests."""
    prefill_tokens: int = 0
    """Prompt tokens that it was given and has not computed yet."""
    step_ms: float = 0.0
    """Mean engine step of its last report; 0.0 without one."""
    embedding_dimensions: int = 0
    """Of the vectors that its model gives; 0: it generates."""

    def is_of(self, tier: Role) -> bool:
        """Whether its role is one of this tier."""
        return self.role.can_decode() if tier is Role.DECODE else self.role.can_prefill_for_others()

    def serves(self, tier: Role) -> bool:
        """Whether it takes this tier's work now."""
        return self.is_of(tier) and self.state == "serving"


@dataclass(frozen=True, slots=True)
class TierView:
    """One model's tier: its queue, and what its workers have."""

    model: str
    role: Role
    workers: tuple[WorkerView, ...] = ()
    """All of the tier, whatever they do at the moment."""
    queued_requests: int = 0
    """In this router's queue, waiting for this tier."""
    queued_tokens: int = 0
    oldest_wait_ms: float = 0.0
    """Of those in the queue; 0.0 for an empty one."""
    wait_ms_target: float = 500.0
    tokens_per_s: float = 0.0
    """What one busy worker prefills; 0.0 until measured."""
    desired_workers: int = 0
    desired_spares: int = 0

    @property
    def serving(self) -> tuple[WorkerView, ...]:
        """Workers that take this tier's work now."""
        return tuple(worker for worker in self.workers if worker.serves(self.role))

    @property
    def engine_tokens(self) -> int:
        """Prompt tokens that wait inside the engines, behind the queue."""
        return sum(worker.prefill_tokens for worker in self.workers)

    @property
    def waiting_tokens(self) -> int:
        """Prompt tokens that are not computed yet, in the queue and inside the engines."""
        return self.queued_tokens + self.engine_tokens

    @property
    def prefill_wait_ms(self) -> float:
        """How long a prompt that comes now waits until those before it are computed; 0.0 while unmeasured.

        waiting tokens / (serving workers x tokens per second of one).
        """
        rate = self.tokens_per_s * len(self.serving)
        return self.waiting_tokens / rate * 1_000.0 if rate > 0 else 0.0


@dataclass(frozen=True, slots=True)
class ModelView:
    """One model's tiers, and how its requests ended in the last five minutes."""

    model: str
    prefill: TierView
    decode: TierView
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """Requests by reason, "answered" and "cancelled" among them."""
    first_token_ms: float = 0.0
    """Mean time from placement to first token of late; 0.0 until measured."""
    gives_vectors: bool = False

    @property
    def workers(self) -> list[WorkerView]:
        """All workers of the model."""
        return list({worker.worker_id: worker for t in self.tiers for worker in t.workers}.values())

    @property
    def tiers(self) -> tuple[TierView, TierView]:
        """Prefill first."""
        return self.prefill, self.decode

    @property
    def ended(self) -> int:
        """Requests that ended in the last five minutes."""
        return sum(self.outcomes.values())


@dataclass(frozen=True, slots=True)
class PairView:
    """One prefill worker handing over to one decode worker; pairs that have never met are not among them."""

    prefill_worker: str
    decode_worker: str
    model: str
    breaker: str
    """"open" (no handoffs), "half_open" or "closed"."""
    canary: str
    """"unknown", "equal", "differed_once", "differed" or "failed"."""
    handoffs: int = 0
    failures: int = 0
    handoff_ms: float = 0.0
    transfer_gb_per_s: float = 0.0
    refusal: str = ""
    """Why no KV can be handed over, so that requests take another way."""


@dataclass(frozen=True, slots=True)
class HandoffsView:
    """Handed-over KV."""

    open: int = 0
    expired: int = 0
    """Leases that ran out before a decode worker took the KV."""
    unreleased: int = 0
    """Over for seconds, and the prefill worker has not freed the blocks."""
    unreleased_busy: int = 0
    """Of those, at workers that compute prompts at the moment: they answer between two long steps."""
    stranded_block_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class FleetView:
    """The whole fleet as one router sees it."""

    models: tuple[ModelView, ...] = ()
    pairs: tuple[PairView, ...] = ()
    handoffs: HandoffsView = field(default_factory=HandoffsView)
    open_requests: int = 0
    quarantined_prompts: int = 0
    store_is_away: bool = False
    """The router has a store and it does not answer."""
    given_up: Mapping[str, str] = field(default_factory=dict)
    """Why each process that dies again and again does so, by its name."""

    @property
    def workers(self) -> list[WorkerView]:
        """All attached workers."""
        return [worker for model in self.models for worker in model.workers]


def view_of(
    state: State,
    scaling: Scaling,
    now_ms: float,
    *,
    store_is_away: bool = False,
    given_up: Mapping[str, str] | None = None,
) -> FleetView:
    """The fleet now. A process that is attached is not given up, whatever was told before."""
    attached = {name for pool in list(state.fleet.pools.values()) for name in _names(pool)}
    return FleetView(
        models=tuple(_model(pool, scaling, now_ms) for pool in list(state.fleet.pools.values())),
        pairs=tuple(_pair(pair, now_ms) for pair in list(state.pairs)),
        handoffs=_handoffs(state.ledger, now_ms),
        open_requests=len(state.flights),
        quarantined_prompts=len(state.quarantine),
        store_is_away=store_is_away,
        given_up={name: why for name, why in (given_up or {}).items() if name not in attached},
    )


def _names(pool: Pool) -> list[str]:
    return [worker.worker_id for worker in list(pool.workers.values())]


def worker_state(worker: Worker, now_ms: float) -> str:
    """A worker's state in one word."""
    if worker.flips_to is not None:
        return "flipping"
    if worker.is_serving and worker.breaker.is_open(now_ms):
        return "suspended"
    return worker.state.name.lower()


def breaker_state(breaker: Breaker, now_ms: float) -> str:
    """A breaker's state in one word."""
    if breaker.is_open(now_ms):
        return "open"
    return "half_open" if breaker.is_half_open(now_ms) else "closed"


def _model(pool: Pool, scaling: Scaling, now_ms: float) -> ModelView:
    workers = [worker_view(worker, now_ms) for worker in list(pool.workers.values())]
    prefill, decode = (_tier(pool, role, workers, scaling, now_ms) for role in TIERS)
    return ModelView(
        pool.model,
        prefill,
        decode,
        pool.outcomes.counts(now_ms),
        pool.first_token_ms.value,
        gives_vectors=pool.embedding_model is not None,
    )


def worker_view(worker: Worker, now_ms: float) -> WorkerView:
    """One worker now."""
    gives = worker.registration.embedding_model
    return WorkerView(
        worker.worker_id,
        worker.registration.fingerprint.model,
        worker.role,
        worker_state(worker, now_ms),
        worker.registration.address,
        len(worker.jobs),
        worker.capacity.max_running_requests,
        worker.slots_taken,
        worker.capacity.kv_blocks,
        worker.blocks_taken,
        worker.prefill_tokens_taken,
        worker.load.step_ms,
        0 if gives is None else gives.dimensions,
    )


def _tier(pool: Pool, role: Role, workers: Iterable[WorkerView], scaling: Scaling, now_ms: float) -> TierView:
    queued_requests, queued_tokens = pool.waiting(role)
    watched = scaling.tiers.get((pool.model, role))
    decision = watched.decision if watched is not None else None
    return TierView(
        pool.model,
        role,
        tuple(worker for worker in workers if worker.is_of(role)),
        queued_requests,
        queued_tokens,
        _oldest_wait_ms(pool, role, now_ms) if queued_requests else 0.0,
        scaling.rules_of(role).target_wait_ms,
        _tokens_per_s(watched) if role is Role.PREFILL else 0.0,
        decision.desired if decision is not None else 0,
        decision.spares if decision is not None else 0,
    )


def _oldest_wait_ms(pool: Pool, role: Role, now_ms: float) -> float:
    queues = [pool.prefill_queue] if pool.waits_for_decode == (role is Role.DECODE) else []
    if role is Role.DECODE:
        queues.append(pool.decode_queue)
    return now_ms - min((flight.waiting_since_ms for q in queues for flight in list(q)), default=now_ms)


def _tokens_per_s(watched: Watched | None) -> float:
    per_ms = watched.scaler.meter.tokens_per_busy_ms if watched is not None else None
    return 1_000.0 * per_ms if per_ms is not None else 0.0


def _pair(pair: Pair, now_ms: float) -> PairView:
    return PairView(
        pair.prefill.worker_id,
        pair.decode.worker_id,
        pair.prefill.registration.fingerprint.model,
        breaker_state(pair.breaker, now_ms),
        pair.canary.name.lower(),
        pair.handoffs,
        pair.failures,
        pair.handoff_ms.value,
        pair.transfer_gb_per_s.value,
        pair.refusal,
    )


def _handoffs(ledger: HandoffLedger, now_ms: float) -> HandoffsView:
    holders = list(_holders(ledger, now_ms))
    return HandoffsView(
        open=len(ledger),
        expired=ledger.expired,
        unreleased=len(holders),
        unreleased_busy=sum(holder.prefill_tokens_taken > 0 for holder in holders),
        stranded_block_seconds=ledger.stranded_block_seconds(now_ms),
    )


def _holders(ledger: HandoffLedger, now_ms: float) -> Iterator[Worker]:
    return (handoff.worker for handoff in ledger.overdue(now_ms))
