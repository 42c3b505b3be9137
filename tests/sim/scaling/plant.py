"""One tier under a scaler, in virtual time: random arrivals, workers with seats, cold starts, spares.

The router's own queue and workers are not here; requests take a seat for a time, first come first served,
which is enough to see what a policy does in hours of load within a second.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from services.common.domain import Role
from services.router.core.scaling.demand import Demand
from services.router.core.scaling.rules import TierRules
from services.router.core.scaling.signal import TierSignal
from services.router.core.scaling.tier import Decision, TierScaler

STEP_MS = 100.0
DECIDE_EVERY = 5
"""Steps between two decisions."""
HOUR_MS = 3_600_000.0


@dataclass
class PlantWorker:
    """One worker: when it is loaded, what it runs."""

    ready_ms: float
    number: int
    standby: bool = False
    retiring: bool = False
    running: list[tuple[float, int, float]] = field(default_factory=list)
    """End, tokens, begin of each request, the first to end first."""


@dataclass(frozen=True)
class Load:
    """What arrives: requests per second at a time, their lengths, how long they hold a seat."""

    per_s: Callable[[float], float]
    tokens: Callable[[random.Random], int]
    hold_ms: Callable[[random.Random, int], float]


def prompts(per_s: Callable[[float], float], mean_tokens: int, tokens_per_s: float) -> Load:
    """A prefill tier's load: exponential lengths, one text at a time."""
    return Load(
        per_s,
        lambda r: 1 + int(r.expovariate(1 / mean_tokens)),
        lambda _, tokens: tokens / tokens_per_s * 1e3,
    )


def answers(per_s: Callable[[float], float], mean_hold_ms: float) -> Load:
    """A decode tier's load: gamma-distributed times in a seat."""
    return Load(per_s, lambda _: 100, lambda r, _: r.gammavariate(4, mean_hold_ms / 4))


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
        """When each request came, and how long it waited."""
        self.desired: list[tuple[float, int]] = []
        """Each change: when, and the number of workers from then on."""
        self.queued_most = 0
        self.decision: Decision | None = None
        self._tier, self._random, self._numbers = tier, random.Random(seed), count()
        self._queue: deque[tuple[float, int, float]] = deque()
        self._demand = Demand()
        self._steps = 0

    def start(self, serving: int, standby: int = 0) -> "Plant":
        """Begin with loaded workers."""
        for i in range(serving + standby):
            self.workers.append(PlantWorker(0.0, next(self._numbers), standby=i >= serving))
        return self

    def run(self, for_ms: float) -> "Plant":
        """Let time pass."""
        until_ms = self.now_ms + for_ms
        while self.now_ms < until_ms:
            self.now_ms += STEP_MS
            self._finish()
            self._arrive()
            self._place()
            self._steps += 1
            if self.scaler is not None and self._steps % DECIDE_EVERY == 0:
                self._scale(self.scaler)
        return self

    @property
    def serving(self) -> list[PlantWorker]:
        """Workers that take requests."""
        return [w for w in self.workers if not (w.standby or w.retiring) and w.ready_ms <= self.now_ms]

    def waits_between(self, from_ms: float, to_ms: float, share: float = 0.95) -> float:
        """A quantile of the waits of those that came in between."""
        waits = sorted(wait for came, wait in self.waits_ms if from_ms <= came < to_ms)
        return waits[min(len(waits) - 1, int(share * len(waits)))]

    def changes_between(self, from_ms: float, to_ms: float) -> int:
        """How often the number of workers changed."""
        return sum(1 for at_ms, _ in self.desired if from_ms <= at_ms < to_ms)

    def _finish(self) -> None:
        for worker in self.workers:
            while worker.running and worker.running[0][0] <= self.now_ms:
                end_ms, _, begin_ms = heapq.heappop(worker.running)
                self._demand.ended(end_ms - begin_ms)
        self.workers = [w for w in self.workers if not w.retiring or w.running]

    def _arrive(self) -> None:
        mean = self.load.per_s(self.now_ms) * STEP_MS / 1e3
        for _ in range(_poisson(self._random, mean)):
            tokens = self.load.tokens(self._random)
            self._queue.append((self.now_ms, tokens, self.load.hold_ms(self._random, tokens)))
            self._demand.arrive(tokens, needs_prefill=True)

    def _place(self) -> None:
        free = [w for w in self.serving if len(w.running) < self.seats]
        while self._queue and free:
            worker = min(free, key=lambda w: len(w.running))
            came_ms, tokens, hold_ms = self._queue.popleft()
            self.waits_ms.append((came_ms, self.now_ms - came_ms))
            heapq.heappush(worker.running, (self.now_ms + hold_ms, tokens, self.now_ms))
            self._demand.prefilling(tokens)
            self._demand.seated(1)
            free = [w for w in free if len(w.running) < self.seats]
        self.queued_most = max(self.queued_most, len(self._queue))

    def _scale(self, scaler: TierScaler) -> None:
        before = self.decision.desired if self.decision is not None else None
        self.decision = scaler.decide(self._signal(), self.now_ms)
        if before is not None and before != self.decision.desired:
            self.desired.append((self.now_ms, self.decision.desired))
        self._obey(self.decision)

    def _signal(self) -> TierSignal:
        loaded = [w for w in self.workers if w.ready_ms <= self.now_ms]
        serving = self.serving
        running = [each for w in self.workers for each in w.running]
        totals = self._demand.decode if self._tier is Role.DECODE else self._demand.prefill
        return TierSignal(
            serving=len(serving),
            at_hand=sum(1 for w in loaded if w.standby or w.retiring),
            attached=sum(1 for w in loaded if not w.retiring),
            queued_requests=len(self._queue),
            queued_tokens=sum(tokens for _, tokens, _ in self._queue),
            running_requests=len(running),
            running_tokens=sum(tokens for _, tokens, _ in running),
            busy=sum(1 for w in self.workers if w.running),
            slots=len(serving) * self.seats,
            blocks=len(serving) * self.seats * 10,
            totals=totals,
        )

    def _obey(self, decision: Decision) -> None:
        """What steward and supervisor do."""
        for worker in self.workers:
            if len(self.serving) < decision.desired and (worker.standby or worker.retiring):
                if worker.ready_ms <= self.now_ms:
                    worker.standby = worker.retiring = False
        surplus = sorted(self.serving, key=lambda w: len(w.running))[: len(self.serving) - decision.desired]
        for worker in surplus if len(self.serving) > decision.desired else []:
            worker.retiring = True
        attached = sum(1 for w in self.workers if not w.retiring)
        for _ in range(decision.replicas - attached):
            ready_ms = self.now_ms + self.cold_ms
            self.workers.append(PlantWorker(ready_ms, next(self._numbers), standby=decision.spares > 0))


def _poisson(chance: random.Random, mean: float) -> int:
    """Knuth's method; means here are small."""
    floor, product, number = math.exp(-mean), chance.random(), 0
    while product > floor:
        product *= chance.random()
        number += 1
    return number
