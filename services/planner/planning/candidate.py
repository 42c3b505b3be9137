"""One fleet that might do, and what the simulator says of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.common.domain import Role
from services.planner.hardware.engine_spec import EngineSpec
from services.planner.outcome import Outcome
from services.planner.planning.target import Target
from services.planner.scenario import Scenario, Tier, play
from services.planner.world.fleet import Engine
from services.planner.world.link import LinkRates
from services.worker.engine.sim.step_times import StepTimes

THRESHOLD = 64
"""The router's own default: shorter prompts are not handed over."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Counts and sizes. Without prefill workers it is a fleet of aggregated engines."""

    prefill: int
    prefill_tp: int
    decode: int
    decode_tp: int
    running_max: int
    """Sequences of one decode engine."""
    threshold: int = THRESHOLD

    @property
    def gpus(self) -> int:
        """All of them."""
        return self.prefill * self.prefill_tp + self.decode * self.decode_tp

    @property
    def is_aggregated(self) -> bool:
        """Whether its workers run prompts and decode."""
        return self.prefill == 0

    @property
    def label(self) -> str:
        """As in `2P(TP2) 4D(TP4)`."""
        if self.is_aggregated:
            return f"{self.decode} aggregated (TP{self.decode_tp})"
        return f"{self.prefill}P(TP{self.prefill_tp}) {self.decode}D(TP{self.decode_tp})"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Engines by tensor parallelism, each with its times: what candidates are made of."""

    specs: Mapping[int, EngineSpec]
    times: Mapping[int, StepTimes]

    def engine(self, tensor_parallel: int, running_max: int) -> Engine:
        """A virtual one."""
        engine = Engine.of(self.specs[tensor_parallel], self.times[tensor_parallel])
        return engine.running_at_most(running_max)


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate and its outcome."""

    candidate: Candidate
    outcome: Outcome

    @property
    def meets(self) -> bool:
        """Whether it keeps the promise."""
        return self.outcome.meets_slo

    @property
    def worst_bound(self) -> tuple[str, float, float]:
        """Name, value and bound in milliseconds of the bound that it misses most, or keeps least well."""
        bounds = self.outcome.slo.bounds if self.outcome.slo else ()
        found = [(b.label, self.outcome.quantile_ms(b), b.bound_ms) for b in bounds]
        return max(found, key=lambda each: each[1] / each[2], default=("", 0.0, 1.0))

    def to_json(self) -> dict[str, Any]:
        """Candidate and outcome."""
        own = {name: getattr(self.candidate, name) for name in Candidate.__slots__}
        return {
            "fleet": self.candidate.label,
            **own,
            "gpus": self.candidate.gpus,
            "outcome": self.outcome.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Trial:
    """All that a process needs to judge a candidate by itself."""

    candidate: Candidate
    sizes: Sizes
    target: Target
    link: LinkRates
    price_per_gpu_hour: float
    warm_up_ms: float
    seed: int = 1

    def judge(self) -> Judged:
        """Play it."""
        return Judged(self.candidate, play(self.scenario()))

    def scenario(self) -> Scenario:
        """Its run."""
        candidate = self.candidate
        decode = self.sizes.engine(candidate.decode_tp, candidate.running_max)
        tiers = {Role.DECODE: Tier(decode, candidate.decode)}
        if not candidate.is_aggregated:
            spec = self.sizes.specs[candidate.prefill_tp]
            prefill = self.sizes.engine(candidate.prefill_tp, spec.running_max)
            tiers[Role.PREFILL] = Tier(prefill, candidate.prefill)
        return Scenario(
            tiers=tiers,
            source=self.target.load.source,
            for_ms=self.target.load.for_ms,
            slo=self.target.slo,
            warm_up_ms=self.warm_up_ms,
            local_prompt_tokens_max=candidate.threshold,
            link=self.link,
            price_per_gpu_hour=self.price_per_gpu_hour,
            seed=self.seed,
        )
