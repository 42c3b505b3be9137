"""One tier under a scaler, in virtual time: random arrivals, workers with seats, cold starts, spares.

The router's own queue and workers are not here; requests take a seat for a time, first come first served, and
give up like the router's, which is enough to see what a policy does in hours of load within seconds.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from services.common.domain import Role
from services.common.limits import DEFAULTS
from services.router.core.scaling.demand import Demand
from services.router.core.scaling.rules import TierRules
from services.router.core.scaling.signal import TierSignal
from services.router.core.scaling.tier import Decision, TierScaler

DECISION_MS = 500.0
HOUR_MS = 3_600_000.0


@dataclass(eq=False)
class PlantWorker:
    """One worker: whether it is loaded, what it runs."""

    is_loaded: bool = True
    standby: bool = False
    retiring: bool = False
    running: int = 0
    running_tokens: int = 0

    @property
    def is_serving(self) -> bool:
        """Whether it takes requests."""
        return self.is_loaded and not self.standby and not self.retiring


@dataclass(frozen=True)
class Load:
    """What arrives: requests per second at a time and at most, their tokens, how long they hold a seat."""

    per_s: Callable[[float], float]
    most_per_s: float
    tokens: Callable[[random.Random], int]
    hold_ms: Callable[[random.Random, int], float]


class Plant:
    """The tier. `run` lets virtual time pass; what happened is in the attributes."""

    def __init__(
        self, tier: Role, rules: TierRules, load: Load, *, seed: int, cold_ms: float, seats: int = 1
    ) -> None:
        self.rules, self.load, self.cold_ms, self.seats = rules, load, cold_ms, seats
        self.scaler: TierScaler | None = TierScaler(tier, rules)
        self.now_ms = 0.0
        self.workers: list[PlantWorker] = []
        self.waits_ms: list[tuple[float, float]] = []
        """When each request came, and how long it waited, or was willing to."""
        self.desired: list[tuple[float, int]] = []
        """Each change: when, and the number of workers from then on."""
        self.decision: Decision | None = None
        self._tier, self._random, self._order = tier, random.Random(seed), count()
        self._queue: deque[tuple[float, int]] = deque()
        self._demand = Demand()
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._arrive_later()
        self._at(DECISION_MS, self._decide)

    def start(self, serving: int, standby: int = 0) -> "Plant":
        """Begin with loaded workers."""
        self.workers += [PlantWorker(standby=i >= serving) for i in range(serving + standby)]
        return self

    def run(self, for_ms: float) -> "Plant":
        """Let time pass."""
        until_ms = self.now_ms + for_ms
        while self._calls[0][0] <= until_ms:
            self.now_ms, _, call = heapq.heappop(self._calls)
            call()
        self.now_ms = until_ms
        return self

    @property
    def serving(self) -> list[PlantWorker]:
        """Workers that take requests."""
        return [w for w in self.workers if w.is_serving]

    def waits_between(self, from_ms: float, to_ms: float, share: float = 0.95) -> float:
        """A quantile of the waits of those that came in between."""
        waits = sorted(wait for came, wait in self.waits_ms if from_ms <= came < to_ms)
        return waits[min(len(waits) - 1, int(share * len(waits)))]

    def changes_between(self, from_ms: float, to_ms: float) -> int:
        """How often the number of workers changed."""
        return sum(1 for at_ms, _ in self.desired if from_ms <= at_ms < to_ms)

    def _at(self, delay_ms: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._calls, (self.now_ms + delay_ms, next(self._order), call))

    def _arrive_later(self) -> None:
        self._at(self._random.expovariate(self.load.most_per_s) * 1e3, self._arrive)

    def _arrive(self) -> None:
        """Thinning: of arrivals at the highest rate, as many are real as the rate says."""
        if self._random.random() * self.load.most_per_s < self.load.per_s(self.now_ms):
            tokens = self.load.tokens(self._random)
            self._queue.append((self.now_ms, tokens))
            self._demand.arrive(tokens, needs_prefill=True)
            self._place()
        self._arrive_later()

    def _place(self) -> None:
        while self._queue and self.now_ms - self._queue[0][0] > DEFAULTS.queue_wait_ms_max:
            self.waits_ms.append((self._queue.popleft()[0], DEFAULTS.queue_wait_ms_max))
        while self._queue:
            free = [w for w in self.workers if w.is_serving and w.running < self.seats]
            if not free:
                return
            self._seat(min(free, key=lambda w: w.running), *self._queue.popleft())

    def _seat(self, worker: PlantWorker, came_ms: float, tokens: int) -> None:
        self.waits_ms.append((came_ms, self.now_ms - came_ms))
        worker.running += 1
        worker.running_tokens += tokens
        self._demand.prefilling(tokens)
        self._demand.seated(10)
        hold_ms = self.load.hold_ms(self._random, tokens)
        self._at(hold_ms, lambda: self._end(worker, tokens, hold_ms))

    def _end(self, worker: PlantWorker, tokens: int, hold_ms: float) -> None:
        worker.running -= 1
        worker.running_tokens -= tokens
        self._demand.ended(hold_ms)
        if worker.retiring and not worker.running:
            self.workers.remove(worker)
        self._place()

    def _decide(self) -> None:
        self._at(DECISION_MS, self._decide)
        if self.scaler is None:
            return
        before = self.decision.desired if self.decision is not None else None
        self.decision = self.scaler.decide(self._signal(), self.now_ms)
        if before is not None and before != self.decision.desired:
            self.desired.append((self.now_ms, self.decision.desired))
        self._obey(self.decision)
        self._place()

    def _signal(self) -> TierSignal:
        loaded = [w for w in self.workers if w.is_loaded]
        serving = len(self.serving)
        return TierSignal(
            serving=serving,
            at_hand=sum(1 for w in loaded if w.standby or w.retiring),
            attached=sum(1 for w in loaded if not w.retiring),
            queued_requests=len(self._queue),
            queued_tokens=sum(tokens for _, tokens in self._queue),
            running_requests=sum(w.running for w in self.workers),
            running_tokens=sum(w.running_tokens for w in self.workers),
            busy=sum(1 for w in self.workers if w.running),
            slots=serving * self.seats,
            blocks=serving * self.seats * 10,
            totals=self._demand.decode if self._tier is Role.DECODE else self._demand.prefill,
        )

    def _obey(self, decision: Decision) -> None:
        """What steward and supervisor do."""
        idle = [w for w in self.workers if w.is_loaded and (w.retiring or w.standby)]
        idle.sort(key=lambda w: w.standby)
        for worker in idle[: max(0, decision.desired - len(self.serving))]:
            worker.standby = worker.retiring = False
        surplus = sorted(self.serving, key=lambda w: w.running)
        for worker in surplus[: max(0, len(self.serving) - decision.desired)]:
            worker.retiring = True
            if not worker.running:
                self.workers.remove(worker)
        kept = sum(1 for w in self.workers if not w.retiring)
        for _ in range(decision.replicas - kept):
            self._start_cold(standby=decision.spares > 0)

    def _start_cold(self, *, standby: bool) -> None:
        worker = PlantWorker(is_loaded=False, standby=standby)
        self.workers.append(worker)
        self._at(self.cold_ms, lambda: self._loaded(worker))

    def _loaded(self, worker: PlantWorker) -> None:
        worker.is_loaded = True
        self._place()
