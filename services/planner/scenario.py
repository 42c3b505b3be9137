"""One run: a fleet, a load, an SLO, and what goes wrong meanwhile."""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from services.common.domain import Role
from services.planner.load.sources import Source
from services.planner.outcome import Outcome, outcome_of
from services.planner.results.tally import Tally
from services.planner.slo import Slo
from services.planner.world.fleet import Engine, FleetOptions, FleetWorld
from services.planner.world.link import LinkRates
from services.planner.world.supervisor import Supervisor, kill_one
from services.router.core.config import CoreConfig
from services.router.core.scaling.rules import ScalingConfig, TierRules

DRAIN_MS_MAX = 600_000.0
"""After the load's end, what is under way has this long to end."""
DRAIN_SLICE_MS = 1_000.0


@dataclass(frozen=True, slots=True)
class Tier:
    """Workers of one kind."""

    engine: Engine
    workers: int
    spares: int = 0
    """Loaded, without work until the scaler wants them."""


@dataclass(frozen=True, slots=True)
class Death:
    """A worker dies."""

    at_ms: float
    role: Role


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that a run needs. Without a prefill tier the decode workers run their prompts themselves."""

    tiers: Mapping[Role, Tier]
    source: Source
    for_ms: float
    """The load's time."""
    slo: Slo | None = None
    warm_up_ms: float = 0.0
    """Requests that begin before are not counted."""
    local_prompt_tokens_max: int = 64
    link: LinkRates = field(default_factory=LinkRates)
    front_ms: float | None = None
    deaths: tuple[Death, ...] = ()
    cold_start_ms: float = 60_000.0
    scaling: ScalingConfig | None = None
    """None: the number of workers stays."""
    price_per_gpu_hour: float = 0.0
    seed: int = 1

    @property
    def gpus(self) -> int:
        """At the start, spares included."""
        return sum((tier.workers + tier.spares) * tier.engine.gpus for tier in self.tiers.values())

    @property
    def label(self) -> str:
        """As in `2P4D`, or `6 aggregated`."""
        prefill = self.tiers.get(Role.PREFILL)
        decode = self.tiers[Role.DECODE].workers
        return f"{prefill.workers}P{decode}D" if prefill and prefill.workers else f"{decode} aggregated"


def autoscaling(
    scenario: Scenario, replicas_max: Mapping[Role, int], rules: TierRules | None = None
) -> Scenario:
    """The same run with a scaler that acts, from the scenario's workers up to so many."""
    rules = rules or TierRules()
    tiers = {
        role: replace(
            rules,
            replicas_min=max(1, tier.workers) if role is Role.DECODE else tier.workers,
            replicas_max=max(replicas_max.get(role, tier.workers), tier.workers),
            spares=tier.spares,
            cold_start_ms=scenario.cold_start_ms,
        )
        for role, tier in scenario.tiers.items()
    }
    prefill = tiers.get(Role.PREFILL, replace(rules, replicas_min=0, replicas_max=0))
    config = ScalingConfig(prefill=prefill, decode=tiers[Role.DECODE], acts=True, rebalances=False)
    return replace(scenario, scaling=config)


def play(scenario: Scenario) -> Outcome:
    """Run to the end of the load and until all is answered; the same every time."""
    world = world_of(scenario)
    with _no_collector():
        world.run(scenario.for_ms)
        until_ms = scenario.for_ms + DRAIN_MS_MAX
        while len(world.callers) and world.now_ms < until_ms:
            world.run(world.now_ms + DRAIN_SLICE_MS)
    return outcome_of(world, scenario.for_ms, scenario.warm_up_ms, scenario.price_per_gpu_hour)


def world_of(scenario: Scenario) -> FleetWorld:
    """The world at the beginning of a run."""
    core = CoreConfig(
        local_prompt_tokens_max=scenario.local_prompt_tokens_max,
        scaling=scenario.scaling or ScalingConfig(),
    )
    options = FleetOptions(core, scenario.link, front_ms=scenario.front_ms, seed=scenario.seed)
    tally = Tally(scenario.slo, scenario.warm_up_ms)
    world = FleetWorld({role: tier.engine for role, tier in scenario.tiers.items()}, options, tally)
    for role, tier in scenario.tiers.items():
        for number in range(tier.workers + tier.spares):
            world.add_worker(role, standby=number >= tier.workers)
    if scenario.scaling is not None:
        Supervisor(world, scenario.cold_start_ms)
    for death in scenario.deaths:
        world.at(death.at_ms, _death(world, death, scenario.cold_start_ms))
    scenario.source.begin(world.callers)
    return world


def _death(world: FleetWorld, death: Death, cold_start_ms: float) -> Callable[[], None]:
    return lambda: kill_one(world, death.role, cold_start_ms)


@contextmanager
def _no_collector() -> Iterator[None]:
    """A world makes many objects and few cycles: looking for those costs a third of its time."""
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
