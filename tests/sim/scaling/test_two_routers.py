"""Two routers scale their fleet as one, whoever of them dies, in virtual time."""

from dataclasses import replace

import pytest

from services.common.domain import Role
from services.router.core.scaling.rules import TierRules
from tests.sim.scaling.two_routers import TwoRouters, faults

pytestmark = pytest.mark.timeout(120)
RULES = TierRules(
    replicas_max=12,
    down_cooldown_ms=20_000.0,
    down_interval_ms=2_000.0,
    rate_window_ms=2_000.0,
    cold_start_ms=3_000.0,
)
OTHER_RULES = replace(RULES, down_cooldown_ms=1_000.0)
SEEDS = range(2)


def loaded(seed: int, gap_ms: float = 500.0, until_ms: float = 90_000.0) -> TwoRouters:
    """Both routers are asked alike, for long enough to have as many workers as are needed."""
    fleet = TwoRouters(seed, RULES, cold_ms=3_000.0)
    fleet.start(2)
    for router in (0, 1):
        fleet.load(router, gap_ms, until_ms)
    fleet.run(40_000.0)
    return fleet


def most_wanted(fleet: TwoRouters, from_ms: float) -> int:
    return max(number for at_ms, _, number in fleet.desired if at_ms >= from_ms)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_work_of_both_counts_and_both_say_the_same_number(seed):
    alone = TwoRouters(seed, RULES, cold_ms=3_000.0)
    alone.start(2)
    alone.load(0, 500.0, 40_000.0)
    alone.run(40_000.0)
    both = loaded(seed)
    assert both.wanted(0) == both.wanted(1) >= alone.wanted(0) * 1.6
    assert both.deciders() == [0]
    assert len(both.worlds[0].workers) == both.wanted(0)


@pytest.mark.parametrize("dying", [0, 1])
@pytest.mark.parametrize("seed", SEEDS)
def test_when_either_dies_the_other_decides_within_two_seconds_and_wants_no_more(seed, dying):
    fleet = loaded(seed)
    before = most_wanted(fleet, fleet.now_ms - 20_000.0)
    fleet.kill(dying)
    died_ms = fleet.now_ms
    fleet.run(2_000.0)
    assert fleet.deciders() == [1 - dying]
    fleet.run(30_000.0)
    assert most_wanted(fleet, died_ms) <= before
    fleet.run(60_000.0)
    assert faults(fleet.callers) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_worker_ends_only_when_no_router_has_work_there(seed):
    fleet = loaded(seed, until_ms=41_000.0)
    fleet.load(0, 3_000.0, 90_000.0)
    fleet.load(1, 6_000.0, 90_000.0, answer=50)  # 20 s, and the one that decides knows nothing of them
    fleet.run(90_000.0)
    assert len(fleet.ended) >= 2
    assert faults(fleet.callers) == []
    assert {caller.outcomes[0].receipt.retries for caller in fleet.callers} == {0}


def test_without_the_store_all_stays_as_it_is_until_it_is_back():
    fleet = loaded(1, until_ms=41_000.0)
    fleet.is_cut = True
    there, wanted = len(fleet.worlds[0].workers), fleet.wanted(0)
    asked = fleet.worlds[0].core.scaling.advice("m", Role.DECODE, OTHER_RULES, fleet.now_ms)
    fleet.run(3_000.0)
    advised = asked.decision
    fleet.run(30_000.0)
    assert fleet.deciders() == []
    assert (len(fleet.worlds[0].workers), fleet.wanted(0), fleet.ended) == (there, wanted, [])
    assert asked.decision is advised, "what somebody else asks for is as it was, too"
    fleet.is_cut = False
    fleet.run(40_000.0)
    assert fleet.wanted(0) == fleet.wanted(1) < wanted
    assert faults(fleet.callers) == []
