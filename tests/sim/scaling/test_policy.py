"""What the scaling policy does to bursts, noise, ramps and slow cold starts, in virtual time."""

import math
from dataclasses import replace

import pytest

from services.common.domain import Role
from services.router.core.scaling.rules import TierRules
from tests.sim.scaling.plant import HOUR_MS, Plant, answers, prompts

SEEDS = range(5)
MINUTE_MS = 60_000.0
RULES = TierRules(replicas_max=40, target_wait_ms=200)


def flat(per_s):
    return lambda _now_ms: per_s


def step(before_per_s, after_per_s, at_ms, until_ms=math.inf):
    return lambda now_ms: after_per_s if at_ms <= now_ms < until_ms else before_per_s


def prefill(rules, per_s, seed, cold_ms):
    """500-token prompts at workers that run 10 000 tokens/s, so 20 requests/s each."""
    return Plant(Role.PREFILL, rules, prompts(per_s, 500, 10_000.0), seed=seed, cold_ms=cold_ms)


def decode(rules, per_s, seed, cold_ms):
    """4 s in one of 32 seats, so 8 requests/s each."""
    return Plant(Role.DECODE, rules, answers(per_s, 4_000.0), seed=seed, cold_ms=cold_ms, seats=32)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tier", [prefill, decode])
def test_a_burst_of_four_times_the_load_is_met_and_without_scaling_is_not(tier, seed):
    burst = (2 * MINUTE_MS, 4 * MINUTE_MS)
    load = step(10 if tier is prefill else 5, 40 if tier is prefill else 20, *burst)
    rules = replace(RULES, spares=2)
    scaled = tier(rules, load, seed, cold_ms=5_000.0).start(1, standby=2).run(5 * MINUTE_MS)
    fixed = tier(rules, load, seed, cold_ms=5_000.0).start(1)
    fixed.scaler = None
    fixed.run(5 * MINUTE_MS)
    assert scaled.waits_between(*burst) < 600
    assert fixed.waits_between(*burst) > 10_000


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tier", [prefill, decode])
def test_noisy_flat_load_hardly_moves_the_number_of_workers(tier, seed):
    plant = tier(RULES, flat(50 if tier is prefill else 30), seed, cold_ms=60_000.0).start(4)
    plant.run(HOUR_MS / 4)
    settled_ms = plant.now_ms
    plant.run(3 * HOUR_MS)
    assert plant.changes_between(settled_ms, plant.now_ms) <= 3 * 4
    assert plant.waits_between(settled_ms, plant.now_ms) <= 200


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tier", [prefill, decode])
def test_slow_cold_starts_do_not_make_it_ask_again_and_again(tier, seed):
    """Five times the load needs five workers at full use, 6.25 at the target occupancy."""
    at_ms = 10 * MINUTE_MS
    load = step(15 if tier is prefill else 6, 100 if tier is prefill else 40, at_ms)
    plant = tier(RULES, load, seed, cold_ms=3 * MINUTE_MS).start(1).run(at_ms)
    plant.run(4 * MINUTE_MS)
    most = max(number for _, number in plant.desired)
    assert 6 <= most <= 10
    plant.run(HOUR_MS)
    assert 6 <= plant.decision.desired <= 8
    downs = [b - a for (_, a), (_, b) in zip(plant.desired, plant.desired[1:], strict=False) if b < a]
    assert len(downs) <= 4
    assert plant.waits_between(plant.now_ms - HOUR_MS / 2, plant.now_ms) <= 200


def test_a_cold_start_is_learnt():
    plant = prefill(RULES, step(10, 60, MINUTE_MS), 1, cold_ms=20_000.0).start(1).run(10 * MINUTE_MS)
    assert plant.decision.cold_start_ms == pytest.approx(20_000, abs=1_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_ramp_is_met_ahead(seed):
    """The forecast starts workers before they are needed; without it they come a cold start late."""

    def ramp(now_ms):
        return 10 + max(0.0, now_ms - 10 * MINUTE_MS) / 1e3 * 0.25

    def waits(rules):
        plant = prefill(rules, ramp, seed, cold_ms=90_000.0).start(1).run(20 * MINUTE_MS)
        return plant.waits_between(10 * MINUTE_MS, 20 * MINUTE_MS, 0.99)

    ahead = replace(RULES, cold_start_ms=90_000.0, target_occupancy=0.9)
    assert waits(ahead) < 300
    assert waits(replace(ahead, forecast_ms_max=0.0)) > waits(ahead)


@pytest.mark.parametrize("tier", [prefill, decode])
def test_after_a_burst_nothing_is_taken_away_for_the_cooldown_then_one_at_a_time(tier):
    burst_end_ms = 5 * MINUTE_MS
    load = step(5, 60 if tier is prefill else 30, MINUTE_MS, burst_end_ms)
    plant = tier(RULES, load, 3, cold_ms=10_000.0).start(1).run(HOUR_MS)
    downs = [
        (at_ms, before - after)
        for (_, before), (at_ms, after) in zip(plant.desired, plant.desired[1:], strict=False)
        if after < before
    ]
    assert downs[0][0] >= burst_end_ms + RULES.down_cooldown_ms * 0.9
    assert {less for _, less in downs} == {1}
    gaps = [b - a for (a, _), (b, _) in zip(downs, downs[1:], strict=False)]
    assert min(gaps) >= RULES.down_interval_ms - 1
    assert plant.decision.desired == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_day_is_followed_with_few_changes(seed):
    def day(now_ms):
        return 40 + 30 * math.sin(2 * math.pi * now_ms / (24 * HOUR_MS))

    plant = decode(RULES, lambda now_ms: day(now_ms) / 3, seed, cold_ms=60_000.0).start(3).run(6 * HOUR_MS)
    assert plant.changes_between(0.25 * HOUR_MS, 6 * HOUR_MS) <= 6 * 4
    assert plant.waits_between(0.25 * HOUR_MS, 6 * HOUR_MS) <= 200
