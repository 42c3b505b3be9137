"""What is to be served, and how well: what a plan is for."""

from dataclasses import dataclass, replace

from services.planner.load.parse import Load
from services.planner.slo import Slo

MARGIN = 0.9
"""Of a bound that an estimate may use, since it knows no chance."""


@dataclass(frozen=True, slots=True)
class Target:
    """A load and a promise."""

    load: Load
    slo: Slo

    @property
    def step_ms_max(self) -> float:
        """Mean time per token that keeps both TPOT and the end; infinite without either."""
        bounds = [self.slo.bound_ms("tpot") or float("inf")]
        e2e_ms = self.slo.bound_ms("e2e")
        if e2e_ms is not None:
            steps = max(1.0, self.load.output_tokens - 1)
            # Half of TTFT's bound is its usual value when its 95th percentile is kept.
            bounds.append((e2e_ms - (self.slo.bound_ms("ttft") or 0.0) / 2) / steps)
        return min(bounds)

    @property
    def rate_per_s(self) -> float:
        """Requests a second; of clients that wait, what they would ask at the promised speed."""
        if self.load.rate_per_s:
            return self.load.rate_per_s
        step_ms = self.step_ms_max if self.step_ms_max < float("inf") else 30.0
        answer_ms = (self.slo.bound_ms("ttft") or 500.0) / 2 + self.load.output_tokens * step_ms
        return self.load.clients / answer_ms * 1e3

    @property
    def context_tokens(self) -> float:
        """Of a request in the middle of its answer."""
        return self.load.prompt_tokens + self.load.output_tokens / 2

    def shorter(self, for_ms: float) -> "Target":
        """The same for less time."""
        return replace(self, load=replace(self.load, for_ms=for_ms))
