"""A plan: the advised fleet, the alternatives, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.planner.planning.candidate import Candidate, Judged, Sizes
from services.planner.planning.deployment import helm_values, up_line
from services.planner.planning.money import ApiPrice, Costs, break_even, cost_per_million
from services.planner.planning.search import cheapest, front
from services.planner.planning.target import Target
from services.planner.slo import shown_ms

SMALL_GAIN = 0.02
"""Less than that is no reason to disaggregate."""
NONE_FOUND = "no {} fleet was found that keeps the promise"


@dataclass(frozen=True, slots=True)
class Prices:
    """What things cost."""

    gpu_hour: float
    overhead_per_hour: float = 0.0
    operations_hours_per_month: float = 0.0
    operations_price_per_hour: float = 0.0
    api: ApiPrice | None = None

    def of(self, gpus: float) -> Costs:
        """A fleet's costs."""
        return Costs(
            gpus,
            self.gpu_hour,
            self.overhead_per_hour,
            self.operations_hours_per_month,
            self.operations_price_per_hour,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What was searched, and what follows."""

    target: Target
    sizes: Sizes
    judged: Sequence[Judged]
    prices: Prices
    gpus_max: int
    notes: Sequence[str] = ()

    @property
    def best(self) -> Judged | None:
        """The cheapest that keeps the promise."""
        return cheapest(self.judged)

    @property
    def best_aggregated(self) -> Judged | None:
        """The cheapest of those without a prefill tier."""
        return cheapest(each for each in self.judged if each.candidate.is_aggregated)

    @property
    def best_disaggregated(self) -> Judged | None:
        """The cheapest of those with one."""
        return cheapest(each for each in self.judged if not each.candidate.is_aggregated)

    @property
    def nearest(self) -> Judged | None:
        """The one that attains most, whether or not it keeps the promise."""
        return max(self.judged, key=lambda j: j.outcome.tally.attainment, default=None)

    @property
    def contradiction(self) -> str:
        """What the promise says against itself; empty for nothing."""
        return self.target.slo.contradiction(round(self.target.load.output_tokens))

    def verdict(self) -> str:
        """One line."""
        together, apart = self.best_aggregated, self.best_disaggregated
        if together is None:
            if apart is None:
                return self._unmet()
            return f"disaggregate: {self._described(apart)}; {NONE_FOUND.format('aggregated')}"
        if apart is None or _gain(together, apart) < SMALL_GAIN:
            return f"keep aggregated: {self._described(together)}{_against(apart)}"
        return (
            f"disaggregate: {self._described(apart)}; {_gain(together, apart):.0%} fewer GPUs than "
            f"{together.candidate.label} with {together.candidate.gpus}"
        )

    def _described(self, judged: Judged) -> str:
        costs = self.prices.of(judged.candidate.gpus)
        per_million = cost_per_million(costs.per_hour, judged.outcome.answer_tokens_per_s)
        return (
            f"{judged.candidate.label}, {judged.candidate.gpus} GPUs, ${costs.per_hour:,.2f} an hour, "
            f"${per_million:.2f} per 1M generated tokens"
        )

    def _unmet(self) -> str:
        nearest = self.nearest
        if nearest is None:
            return f"cannot be met: no engine that fits has at most {self.gpus_max} GPUs"
        name, value_ms, bound_ms = nearest.worst_bound
        served = nearest.outcome.tally.served
        why = f"its {name} is {shown_ms(value_ms)} of {shown_ms(bound_ms)}"
        if value_ms <= bound_ms:
            why = f"it serves {served:.2%} of the requests"
        kept = f"with {nearest.outcome.tally.attainment:.1%} of the requests within all bounds"
        return (
            f"cannot be met with at most {self.gpus_max} GPUs; the nearest is {nearest.candidate.label}, "
            f"{nearest.candidate.gpus} GPUs, {kept}, because {why}"
        )

    @property
    def context_tokens(self) -> int:
        """Longest prompt and answer that the advised engines are told to take."""
        load = self.target.load
        longest = load.longest_tokens or 2 * (load.prompt_tokens + load.output_tokens)
        blocks = -(-int(longest) // 1_024)
        return blocks * 1_024

    def costs(self, judged: Judged) -> Costs:
        """Of one fleet."""
        return self.prices.of(judged.candidate.gpus)

    def break_even(self, judged: Judged) -> tuple[float, float]:
        """Requests and generated tokens a month from which on the fleet is cheaper than the API."""
        load = self.target.load
        if self.prices.api is None:
            return float("inf"), float("inf")
        price = self.prices.api.per_request(load.prompt_tokens, load.output_tokens)
        requests = break_even(self.costs(judged).per_month, price)
        return requests, requests * load.output_tokens

    def up_line(self, candidate: Candidate) -> str:
        """See `deployment`."""
        return up_line(candidate, self.sizes, self.context_tokens)

    def helm_values(self, candidate: Candidate) -> dict[str, Any]:
        """See `deployment`."""
        return helm_values(candidate, self.sizes, self.context_tokens)

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        best, edge = self.best, front(self.judged)
        found: dict[str, Any] = {
            "verdict": self.verdict(),
            "contradiction": self.contradiction or None,
            "notes": list(self.notes),
            "slo": str(self.target.slo),
            "candidates": [
                {**each.to_json(), "on_front": each.candidate in edge, "meets_slo": each.meets}
                for each in self.judged
            ],
            "best": best.to_json() if best else None,
        }
        if best is not None:
            costs = self.costs(best)
            found["costs"] = {
                "gpus_per_hour": costs.gpus_per_hour,
                "overhead_per_hour": costs.overhead_per_hour,
                "operations_per_month": costs.operations_per_month,
                "per_hour": costs.per_hour,
                "per_month": costs.per_month,
            }
            if self.prices.api is not None:
                requests, tokens = self.break_even(best)
                found["break_even_per_month"] = {"requests": requests, "generated_tokens": tokens}
            found["up"] = self.up_line(best.candidate)
            found["helm_values"] = self.helm_values(best.candidate)
        return found


def _gain(together: Judged, apart: Judged) -> float:
    """Share of the GPUs that disaggregating saves; negative where it needs more."""
    return 1 - apart.candidate.gpus / together.candidate.gpus


def _against(apart: Judged | None) -> str:
    if apart is None:
        return f"; {NONE_FOUND.format('disaggregated')}"
    return f"; disaggregated it would take {apart.candidate.label} with {apart.candidate.gpus} GPUs"
