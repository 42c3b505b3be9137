"""The advice: each alternative is played on every window of the log, and compared window by window.

Windows share the day's weather, so the gain is the mean of the differences; its interval comes from drawing
windows and seeds again and again (bootstrap).
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from random import Random
from typing import Any

from services.common.domain import Role
from services.planner.advice.alternative import Alternative, alternatives
from services.planner.load.ask import Ask
from services.planner.load.sources import Replay
from services.planner.scenario import Scenario, Tier, play
from services.planner.slo import Slo
from services.planner.world.fleet import Engine

WINDOWS = 6
SEEDS = (1, 2)
DRAWS = 2_000
CONFIDENCE = 0.9
GAIN_LEAST = 0.01
"""Of the requests; a smaller gain is not worth a change."""

Timed = tuple[float, Ask]


@dataclass(frozen=True, slots=True)
class Study:
    """A log, a promise, and the engines that would serve."""

    requests: Sequence[Timed]
    slo: Slo
    engines: Mapping[Role, Engine]
    current: Alternative
    windows: int = WINDOWS

    def parts(self) -> list[list[Timed]]:
        """Windows with equally many requests, each from its own beginning."""
        size = max(1, len(self.requests) // self.windows)
        found = []
        for begin in range(0, size * min(self.windows, len(self.requests)), size):
            part = self.requests[begin : begin + size]
            found.append([(at_ms - part[0][0], ask) for at_ms, ask in part])
        return found

    def run(self, executor: Executor) -> "Advice":
        """Play everything."""
        options = list(alternatives(self.current))
        runs = [(option, part, seed) for option in options for part in self.parts() for seed in SEEDS]
        shares = list(executor.map(attained, [self] * len(runs), *zip(*runs, strict=True)))
        each = len(runs) // len(options)
        return Advice(
            self,
            {option: tuple(shares[i * each : (i + 1) * each]) for i, option in enumerate(options)},
        )


def attained(study: Study, option: Alternative, part: Sequence[Timed], seed: int) -> float:
    """Share of a window's requests within every bound."""
    tiers = {Role.DECODE: Tier(study.engines[Role.DECODE], option.decode)}
    if option.prefill:
        tiers[Role.PREFILL] = Tier(study.engines[Role.PREFILL], option.prefill)
    scenario = Scenario(
        tiers,
        Replay(part),
        for_ms=part[-1][0] + 1.0,
        slo=study.slo,
        local_prompt_tokens_max=option.threshold,
        seed=seed,
    )
    return play(scenario).tally.attainment


@dataclass(frozen=True, slots=True)
class Gain:
    """What an alternative adds to the share of requests within all bounds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Advice:
    """What was seen, and what follows."""

    study: Study
    shares: Mapping[Alternative, tuple[float, ...]]
    """Per alternative, one for each window and seed, in the same order."""

    def attained(self, option: Alternative) -> float:
        """Mean."""
        return sum(self.shares[option]) / len(self.shares[option])

    def gain(self, option: Alternative) -> Gain:
        """Against the current fleet, with an interval of 90 %."""
        pairs = zip(self.shares[option], self.shares[self.study.current], strict=True)
        differences = [ours - theirs for ours, theirs in pairs]
        chance = Random(1)
        means = sorted(
            sum(chance.choices(differences, k=len(differences))) / len(differences) for _ in range(DRAWS)
        )
        edge = int(DRAWS * (1 - CONFIDENCE) / 2)
        return Gain(sum(differences) / len(differences), means[edge], means[-1 - edge])

    @property
    def best(self) -> Alternative:
        """The one that attains most; the current one where others hardly do better, or not for sure."""
        found = max(self.shares, key=self.attained)
        gain = self.gain(found)
        return found if gain.mean >= GAIN_LEAST and gain.low > 0 else self.study.current

    def verdict(self) -> str:
        """One line."""
        best, current = self.best, self.study.current
        if best == current:
            return f"keep {current.label}: {self.attained(current):.1%} of the requests are within all bounds"
        gain = self.gain(best)
        expected = (
            f"{gain.mean:+.1%} of the requests within all bounds ({gain.low:+.1%} to {gain.high:+.1%}), "
            f"{self.attained(best):.1%} instead of {self.attained(current):.1%}"
        )
        if not best.prefill:
            return f"do not disaggregate: {expected}"
        if (best.prefill, best.decode) == (current.prefill, current.decode):
            return f"move the threshold to {best.threshold} tokens: {expected}"
        return f"change the ratio to {best.prefill}:{best.decode}: {expected}"

    def basis(self) -> str:
        """What it rests on."""
        requests, engine = self.study.requests, self.study.engines[Role.DECODE]
        hours = requests[-1][0] / 3_600_000
        return (
            f"{len(requests):,} requests of {hours:.2f} hours in {len(self.study.parts())} windows, "
            f"{len(SEEDS)} seeds, engines timed as {engine.times.name} ({engine.times.source})"
        )

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        rows = []
        for option in self.shares:
            gain = self.gain(option)
            rows.append(
                {
                    "fleet": option.label,
                    "prefill": option.prefill,
                    "decode": option.decode,
                    "threshold": option.threshold,
                    "attained": self.attained(option),
                    "gain": gain.mean,
                    "gain_low": gain.low,
                    "gain_high": gain.high,
                }
            )
        return {"verdict": self.verdict(), "basis": self.basis(), "alternatives": rows}
