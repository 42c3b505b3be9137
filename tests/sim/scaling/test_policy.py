"""What the scaling policy does to bursts, noise, ramps and slow cold starts, in virtual time."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from services.common.domain import Role
from services.router.core.scaling.rules import TierRules
from tests.sim.scaling.plant import HOUR_MS, Load, Plant

pytestmark = pytest.mark.timeout(600)
SEEDS = range(2)
MINUTE_MS = 60_000.0
RULES = TierRules(replicas_max=40, target_wait_ms=200)


def flat(per_s):
    return lambda _now_ms: per_s


def step(before_per_s, after_per_s, at_ms, until_ms=math.inf):
    return lambda now_ms: after_per_s if at_ms <= now_ms < until_ms else before_per_s


def prefill(rules, per_s, seed, cold_ms, most_per_s=50.0):
    """Prompts of 1 000 tokens on average at workers that run 10 000 tokens/s: 10 requests/s each."""
    load = Load(per_s, most_per_s, lambda r: 1 + int(r.expovariate(1 / 1_000)), lambda _, tokens: tokens / 10)
    return Plant(Role.PREFILL, rules, load, seed=seed, cold_ms=cold_ms)


def decode(rules, per_s, seed, cold_ms, most_per_s=20.0):
    """8 s on average in one of 32 seats: 4 requests/s each."""
    load = Load(per_s, most_per_s, lambda _: 100, lambda r, _: r.gammavariate(4, 2_000.0))
    return Plant(Role.DECODE, rules, load, seed=seed, cold_ms=cold_ms, seats=32)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tier", [prefill, decode])
def test_a_burst_of_four_times_the_load_is_met_and_without_scaling_is_not(tier, seed):
    burst = (2 * MINUTE_MS, 4 * MINUTE_MS)
    load = step(5 if tier is prefill else 2.5, 20 if tier is prefill else 10, *burst)
    rules = replace(RULES, spares=2)
    scaled = tier(rules, load, seed, cold_ms=5_000.0).start(1, standby=2).run(5 * MINUTE_MS)
    fixed = tier(rules, load, seed, cold_ms=5_000.0).start(1)
    fixed.scaler = None
    fixed.run(5 * MINUTE_MS)
    assert scaled.waits_between(*burst) < 600
    assert fixed.waits_between(*burst) > 9_000


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tier", [prefill, decode])
def test_noisy_flat_load_hardly_moves_the_number_of_workers(tier, seed):
    plant = tier(RULES, flat(25 if tier is prefill else 15), seed, 60_000.0, 25.0).start(4)
    plant.run(HOUR_MS / 6)
    settled_ms = plant.now_ms
    plant.run(HOUR_MS)
    assert plant.changes_between(settled_ms, plant.now_ms) <= 4
    assert plant.waits_between(settled_ms, plant.now_ms) <= 200


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tier", [prefill, decode])
def test_slow_cold_starts_do_not_make_it_ask_again_and_again(tier, seed):
    """Five times the load needs five workers at full use, 6.25 at the target occupancy."""
    at_ms = 10 * MINUTE_MS
    load = step(7 if tier is prefill else 3, 50 if tier is prefill else 20, at_ms)
    plant = tier(RULES, load, seed, cold_ms=3 * MINUTE_MS).start(1).run(at_ms)
    plant.run(4 * MINUTE_MS)
    most = max(number for _, number in plant.desired)
    assert 6 <= most <= 10
    plant.run(HOUR_MS / 2)
    assert 6 <= plant.decision.desired <= 8
    downs = [b - a for (_, a), (_, b) in pairwise(plant.desired) if b < a]
    assert len(downs) <= 4
    assert plant.waits_between(plant.now_ms - HOUR_MS / 4, plant.now_ms) <= 200


def test_a_cold_start_is_learnt():
    plant = prefill(RULES, step(5, 30, MINUTE_MS), 1, cold_ms=20_000.0).start(1).run(10 * MINUTE_MS)
    assert plant.decision.cold_start_ms == pytest.approx(20_000, abs=1_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_ramp_is_met_ahead(seed):
    """The forecast starts workers before they are needed; without it they come a cold start late."""

    def ramp(now_ms):
        return 5 + max(0.0, now_ms - 5 * MINUTE_MS) / 1e3 * 0.1

    def waits(rules):
        plant = prefill(rules, ramp, seed, 90_000.0, 70.0).start(1).run(15 * MINUTE_MS)
        return plant.waits_between(8 * MINUTE_MS, 15 * MINUTE_MS)

    ahead = replace(RULES, cold_start_ms=90_000.0)
    assert waits(ahead) < 600
    assert waits(replace(ahead, forecast_ms_max=0.0)) > waits(ahead)


@pytest.mark.parametrize("tier", [prefill, decode])
def test_after_a_burst_nothing_is_taken_away_for_the_cooldown_then_one_at_a_time(tier):
    burst_end_ms = 5 * MINUTE_MS
    load = step(1.5, 30 if tier is prefill else 15, MINUTE_MS, burst_end_ms)
    plant = tier(RULES, load, 3, cold_ms=10_000.0).start(1).run(HOUR_MS / 2)
    downs = [
        (at_ms, before - after) for (_, before), (at_ms, after) in pairwise(plant.desired) if after < before
    ]
    kept = [
        n for at_ms, n in plant.desired if 2 * MINUTE_MS < at_ms < burst_end_ms + RULES.down_cooldown_ms * 0.9
    ]
    assert min(kept, default=4) >= 4
    assert {less for _, less in downs} == {1}
    gaps = [b - a for (a, _), (b, _) in pairwise(downs)]
    assert min(gaps) >= RULES.down_interval_ms - 1
    assert plant.decision.desired == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_day_is_followed_with_few_changes(seed):
    def day(now_ms):
        return 6.5 + 5 * math.sin(2 * math.pi * now_ms / (24 * HOUR_MS))

    plant = decode(RULES, day, seed, 60_000.0, 12.0).start(3).run(2 * HOUR_MS)
    assert plant.changes_between(HOUR_MS / 4, plant.now_ms) <= 2 * 4
    assert plant.waits_between(HOUR_MS / 4, plant.now_ms) <= 200
