"""The scaler's parts, each by itself."""

import random
from datetime import UTC, datetime

import pytest

from services.router.core.scaling.cold_starts import ColdStarts
from services.router.core.scaling.cron import Cron
from services.router.core.scaling.damper import Damper
from services.router.core.scaling.demand import TierDemand
from services.router.core.scaling.meter import Arrivals, Meter
from services.router.core.scaling.needs import Case, DecodeStep
from services.router.core.scaling.rules import Floor, TierRules
from services.router.core.scaling.signal import TierSignal
from services.router.core.scaling.trend import BINS, Trend

RULES = TierRules(down_cooldown_ms=1_000, down_interval_ms=100, up_interval_ms=100, up_step_max=2)


def unix_ms(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e3


@pytest.mark.parametrize(
    ("cron", "at", "holds"),
    [
        ("* * * * *", "2026-11-21 14:30", True),
        ("* 8-17 * * mon-fri", "2026-11-20 17:59:59", True),
        ("* 8-17 * * mon-fri", "2026-11-20 18:00", False),
        ("* 8-17 * * mon-fri", "2026-11-21 12:00", False),
        ("*/15 * * * *", "2026-11-21 12:45:30", True),
        ("*/15 * * * *", "2026-11-21 12:46", False),
        ("5/20 * * * *", "2026-11-21 12:25", True),
        ("0 0 1,15 11 *", "2026-11-15 00:00", True),
        ("* * * * 7", "2026-11-22 03:00", True),
        ("* * * * sun", "2026-11-22 03:00", True),
        ("* * 1 * sun", "2026-11-22 03:00", True),
        ("* * 1 * sun", "2026-12-01 03:00", True),
        ("* * 1 * sun", "2026-12-02 03:00", False),
    ],
)
def test_a_schedule_holds_in_the_minutes_that_match(cron, at, holds):
    assert Cron.parse(cron).matches(unix_ms(at)) is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("* * * *", "five fields"),
        ("60 * * * *", "no minute"),
        ("* 9-8 * * *", "no hour"),
        ("* * 0 * *", "no day"),
        ("* * * jan *", "no month"),
        ("* * * * funday", "no weekday"),
        ("*/0 * * * *", "no minute"),
        ("-1 * * * *", "no minute"),
    ],
)
def test_a_wrong_schedule_names_the_field(text, said):
    with pytest.raises(ValueError, match=said):
        Cron.parse(text)


def test_a_floor_is_a_number_at_a_schedule():
    assert Floor.parse("4 @ * 8-17 * * mon-fri").replicas == 4
    with pytest.raises(ValueError, match="REPLICAS @"):
        Floor.parse("* * * * *")


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas_min": 3, "replicas_max": 2},
        {"replicas_min": -1},
        {"target_occupancy": 0.0},
        {"target_occupancy": 1.1},
        {"tolerance": 1.0},
        {"target_wait_ms": 0.0},
        {"down_cooldown_ms": float("nan")},
        {"spares": -1},
    ],
)
def test_rules_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"\w"):
        TierRules(**wrong)


def test_up_is_at_once_but_bounded_in_each_interval():
    damper = Damper(RULES, 1)
    assert [damper.settle(20, 20, ms) for ms in (0, 50, 100, 200, 300, 400)] == [3, 3, 6, 12, 20, 20]


def test_down_waits_for_the_cooldown_and_goes_step_by_step():
    damper = Damper(RULES, 5)
    desired = {ms: damper.settle(1, 2, ms) for ms in range(0, 2_001, 50)}
    assert {desired[ms] for ms in range(0, 1_000, 50)} == {5}
    assert [desired[ms] for ms in (1_050, 1_150, 1_250, 1_350, 2_000)] == [4, 3, 2, 2, 2]


def test_a_short_need_restarts_the_cooldown():
    damper = Damper(RULES, 3)
    for ms in range(0, 3_001, 50):
        needed = 3 if ms % 900 == 0 else 1
        assert damper.settle(1, needed, ms) == 3


def test_bounds_hold_at_once():
    damper = Damper(RULES, 5)
    assert damper.bound(1, 3, 0.0) == 3
    assert damper.bound(8, 9, 0.0) == 8
    assert damper.changed_ms == 0.0


def test_workers_that_nobody_asked_for_get_the_cooldown():
    """As when a router begins anew and its workers attach one after another."""
    damper = Damper(RULES, 1)
    damper.adopt(4, 0)
    assert {damper.settle(1, 1, ms) for ms in range(0, 1_000, 50)} == {4}
    assert [damper.settle(1, 1, ms) for ms in (1_050, 1_150, 1_250)] == [3, 2, 1]


def test_cold_starts_are_matched_oldest_first():
    starts = ColdStarts(60_000)
    starts.watch(3, 1, 0)
    assert (starts.coming, starts.typical_ms) == (2, 60_000)
    starts.watch(3, 2, 5_000)
    assert (starts.coming, starts.typical_ms) == (1, 5_000)
    starts.watch(2, 2, 6_000)
    assert starts.coming == 0
    starts.watch(3, 2, 10_000)
    starts.watch(3, 3, 25_000)
    assert starts.typical_ms == pytest.approx(8_000)
    starts.watch(4, 3, 30_000)
    starts.watch(4, 4, 3_000_000)
    assert starts.typical_ms == pytest.approx(8_000)


def rates(trend: Trend, values: list[float]) -> float:
    for value in values:
        trend.take(value * 1_000, 1_000)
    return trend.slope


def test_a_ramp_is_a_trend_and_a_step_is_none():
    assert rates(Trend(1_000), [float(i) for i in range(BINS)]) == pytest.approx(1e-3)
    assert rates(Trend(1_000), [float(i) for i in range(BINS - 1)]) == 0.0
    assert rates(Trend(1_000), [9.0 - i for i in range(BINS)]) == 0.0
    noise = random.Random(1)
    for split in range(1, BINS):
        step = [noise.gauss(10 if i < split else 50, 1) for i in range(BINS)]
        assert rates(Trend(1_000), step) * 1_000 * BINS < 5


def test_arrivals_are_averaged_slowly_until_they_change_for_certain():
    noise, arrivals = random.Random(2), Arrivals(5_000)
    for _ in range(240):
        arrivals.take(number := noise.randint(5, 15), number, 500)
    assert arrivals.per_ms() == pytest.approx(0.02, rel=0.1)
    for _ in range(20):
        arrivals.take(number := noise.randint(35, 45), number, 500)
    assert arrivals.per_ms() > 0.06


def test_arrivals_of_the_first_moment_are_not_taken_for_a_rate():
    arrivals = Arrivals(5_000)
    arrivals.take(10, 10, 10)
    assert arrivals.per_ms() < 0.004


def test_a_pace_is_what_busy_workers_have_done():
    meter, totals = Meter(5_000), TierDemand()
    for second in range(21):
        totals.taken_tokens = second * 8_000
        meter.take(TierSignal(serving=2, busy=1, totals=totals), 1_000.0)
    assert meter.tokens_per_busy_ms == pytest.approx(8.0)


def test_seats_are_slots_or_what_kv_blocks_hold():
    meter, totals = Meter(5_000), TierDemand()
    signal = TierSignal(serving=2, slots=128, blocks=1_000, totals=totals)
    meter.take(signal, 0.0)
    assert meter.seats_per_worker == 64
    totals.seated_requests, totals.seated_blocks = 10, 200
    meter.take(signal, 1_000.0)
    assert meter.seats_per_worker == 25


def test_a_step_target_limits_the_batch_but_not_below_what_one_request_costs():
    meter = Meter(5_000)
    steps = tuple((batch, 10 + batch * 0.5) for batch in (10, 20, 40))
    signal = TierSignal(serving=3, running_requests=70, steps=steps)
    meter.take(signal, 0.0)
    rules = TierRules(step_ms_target=20)
    case = Case(signal, meter, rules, 500.0, 0.0)
    assert DecodeStep().need(case).workers == pytest.approx(3.5, rel=0.05)
    assert DecodeStep().need(case._replace(rules=TierRules(step_ms_target=9))) is None
