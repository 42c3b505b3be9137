"""The verdict on a fleet: which part holds requests up, how urgent that is, and what helps."""

from dataclasses import replace

import pytest

from services.common.domain import Role
from services.router import gauges
from services.router.core.outcomes import BIN_MS, WINDOW_MS, RecentOutcomes
from services.router.fleet_view import (
    FleetView,
    HandoffsView,
    ModelView,
    PairView,
    TierView,
    WorkerView,
    view_of,
)
from services.router.verdict import KINDS, Finding, Severity, findings
from tests.sim.world import CONFIG, World

PREFILL = WorkerView("p", "m", Role.PREFILL, "serving", slots=8, kv_blocks=100, running_requests=1)
DECODE = WorkerView("d", "m", Role.DECODE, "serving", slots=8, kv_blocks=100, running_requests=1)


def tier(role: Role, *workers: WorkerView, **numbers: float) -> TierView:
    return TierView("m", role, workers, **numbers)  # type: ignore[arg-type]


def model(prefill: TierView | None = None, decode: TierView | None = None, **outcomes: int) -> ModelView:
    return ModelView(
        "m", prefill or tier(Role.PREFILL, PREFILL), decode or tier(Role.DECODE, DECODE), outcomes
    )


def fleet(*models: ModelView, **fields: object) -> FleetView:
    return FleetView(models or (model(),), **fields)  # type: ignore[arg-type]


def only(view: FleetView) -> Finding:
    (finding,) = findings(view)
    assert finding.kind in KINDS
    assert finding.remedy
    return finding


def test_a_healthy_fleet_has_no_findings() -> None:
    busy = model(
        tier(Role.PREFILL, replace(PREFILL, prefill_tokens=400), tokens_per_s=1_000.0), answered=1_000
    )
    assert findings(fleet(busy)) == []


def test_prompts_that_wait_inside_the_engines_are_seen_though_no_queue_is() -> None:
    starved = model(tier(Role.PREFILL, replace(PREFILL, prefill_tokens=6_000), tokens_per_s=1_000.0))
    finding = only(fleet(starved))
    assert (finding.kind, finding.severity) == ("prefill_starved", Severity.WARNING)
    assert "6,000 prompt tokens wait inside the engines" in finding.text
    assert "a new prompt waits about 6.0 s" in finding.text


@pytest.mark.parametrize(
    ("oldest_wait_ms", "outcomes", "severity"),
    [
        (40.0, {"answered": 90}, Severity.NOTE),
        (900.0, {"answered": 90}, Severity.WARNING),
        (900.0, {"answered": 90, "queue_wait_exceeded": 10}, Severity.CRITICAL),
    ],
)
def test_decode_is_starved_as_urgently_as_callers_feel_it(oldest_wait_ms, outcomes, severity) -> None:
    decode = tier(
        Role.DECODE,
        replace(DECODE, slots_taken=8, kv_blocks_taken=40),
        queued_requests=3,
        queued_tokens=27,
        oldest_wait_ms=oldest_wait_ms,
    )
    first = findings(fleet(model(decode=decode, **outcomes)))[0]
    assert (first.kind, first.severity) == ("decode_starved", severity)
    assert "3 requests (27 tokens) wait" in first.text
    assert "8 of 8 seats are taken" in first.text


def test_refusals_for_kv_name_kv_and_not_the_seats() -> None:
    decode = tier(Role.DECODE, replace(DECODE, slots_taken=3, kv_blocks_taken=97))
    first, second = findings(fleet(model(decode=decode, answered=61, kv_memory_full=324)))
    assert (first.kind, first.severity) == ("kv_full", Severity.CRITICAL)
    assert "324 of 385 requests of the last 5 minutes were refused for it" in first.text
    assert "97% of their KV blocks" in first.text
    assert (second.kind, second.severity) == ("refusals", Severity.CRITICAL)
    assert "324 because KV memory is full (kv_memory_full)" in second.text


def test_one_refusal_in_a_thousand_is_no_finding() -> None:
    assert findings(fleet(model(answered=999, queue_full=1, cancelled=40))) == []


def test_a_caller_s_own_mistakes_are_no_finding() -> None:
    assert findings(fleet(model(answered=1, invalid_field=50, context_length_exceeded=50))) == []


def test_without_a_decode_worker_nothing_else_matters_as_much() -> None:
    finding = only(
        fleet(model(decode=tier(Role.DECODE, replace(DECODE, state="standby"), queued_requests=4)))
    )
    assert (finding.kind, finding.severity) == ("no_worker", Severity.CRITICAL)
    assert finding.remedy == "`pdmesh activate d`"
    assert only(FleetView()).kind == "no_worker"


def test_a_model_that_gives_vectors_lacks_no_decode_worker() -> None:
    pooling = ModelView("m", tier(Role.PREFILL, PREFILL), tier(Role.DECODE), gives_vectors=True)
    assert findings(fleet(pooling)) == []
    idle = replace(pooling, prefill=tier(Role.PREFILL, replace(PREFILL, state="draining")))
    assert only(fleet(idle)).remedy == "`pdmesh undrain p`"


@pytest.mark.parametrize(
    ("others", "remedy"),
    [
        ((), "start another decode worker"),
        ((replace(DECODE, worker_id="s", state="standby"),), "`pdmesh activate s`"),
        ((replace(DECODE, worker_id="s", state="draining", role=Role.BOTH),), "`pdmesh undrain s`"),
        ((replace(DECODE, worker_id="s", state="suspended"),), "`pdmesh doctor` tells more"),
    ],
)
def test_what_is_loaded_already_helps_first(others: tuple[WorkerView, ...], remedy: str) -> None:
    decode = tier(Role.DECODE, replace(DECODE, slots_taken=8), *others, queued_requests=2)
    starved = next(f for f in findings(fleet(model(decode=decode))) if f.kind == "decode_starved")
    assert remedy in starved.remedy


def test_an_idle_worker_of_the_other_tier_is_offered() -> None:
    decode = tier(Role.DECODE, replace(DECODE, slots_taken=8), queued_requests=2)
    idle = tier(Role.PREFILL, replace(PREFILL, running_requests=0))
    assert "`pdmesh role p both`" in only(fleet(model(idle, decode))).remedy


def test_one_worker_that_is_much_slower_than_its_peers_is_named() -> None:
    peers = [replace(DECODE, worker_id=f"d{i}", step_ms=20.0) for i in range(3)]
    slow = replace(DECODE, worker_id="slow", step_ms=70.0)
    finding = only(fleet(model(decode=tier(Role.DECODE, *peers, slow))))
    assert (finding.kind, "slow takes 70 ms" in finding.text) == ("worker_slow", True)
    fine = tier(Role.DECODE, *peers, replace(slow, step_ms=30.0))
    assert findings(fleet(model(decode=fine))) == []


@pytest.mark.parametrize(
    ("pair", "kind"),
    [
        (PairView("p", "d", "m", "open", "differed"), "pair_held"),
        (PairView("p", "d", "m", "open", "failed", failures=1, refusal="firewall: x"), "pair_refused"),
        (PairView("p", "d", "m", "open", "failed", handoffs=9, failures=3), "pair_suspended"),
    ],
)
def test_a_pair_that_hands_nothing_over_is_named(pair: PairView, kind: str) -> None:
    assert only(fleet(pairs=(pair,))).kind == kind
    assert findings(fleet(pairs=(replace(pair, breaker="half_open", refusal=""),))) == []


@pytest.mark.parametrize(
    ("pair", "usable"),
    [
        (PairView("p", "d", "m", "closed", "equal"), 1),
        (PairView("p", "d", "m", "half_open", "unknown"), 1),
        (PairView("p", "d", "m", "open", "failed"), 0),
        (PairView("p", "d", "m", "closed", "failed", refusal="address: 127.0.0.1 is loopback"), 0),
    ],
)
def test_a_pair_that_was_refused_counts_as_unusable(pair: PairView, usable: int) -> None:
    families = {family.name: family for family in gauges._pairs(fleet(pairs=(pair,)))}
    (sample,) = families["pdmesh_router_pair_usable"].samples
    assert sample.value == usable


def test_a_busy_prefill_worker_that_releases_late_is_no_fault() -> None:
    assert only(fleet(handoffs=HandoffsView(unreleased=2))).severity is Severity.WARNING
    busy = only(fleet(handoffs=HandoffsView(unreleased=2, unreleased_busy=2)))
    assert (busy.kind, busy.severity) == ("handoffs_unreleased", Severity.NOTE)


def test_quarantine_and_a_store_that_is_away_concern_the_whole_fleet() -> None:
    kinds = [f.kind for f in findings(fleet(quarantined_prompts=1, store_is_away=True))]
    assert kinds == ["quarantine", "store_away"]


def test_outcomes_are_those_of_the_last_five_minutes() -> None:
    outcomes = RecentOutcomes()
    outcomes.count("queue_full", 0.0)
    outcomes.count("answered", WINDOW_MS)
    assert outcomes.counts(WINDOW_MS) == {"queue_full": 1, "answered": 1}
    assert outcomes.counts(WINDOW_MS + 2 * BIN_MS) == {"answered": 1}


def test_the_view_of_a_live_fleet_shows_queues_engines_and_how_requests_ended() -> None:
    world = World(0, replace(CONFIG, canary_interval_ms=0))
    world.add_worker(Role.PREFILL, "p")
    world.add_worker(Role.DECODE, "d")
    gateway = world.add_gateway()
    callers = [world.submit(gateway, 100, 5) for _ in range(4)]
    world.run(1.0)
    (seen,) = view_of(world.core.state, world.core.scaling, world.now_ms).models
    given = sum(worker.prefill_tokens for worker in seen.prefill.workers)
    assert seen.prefill.waiting_tokens == given + seen.prefill.queued_tokens > 0
    assert sum(worker.slots_taken for worker in seen.decode.serving) + seen.decode.queued_requests > 0
    world.run(60_000.0)
    view = view_of(world.core.state, world.core.scaling, world.now_ms)
    assert view.models[0].outcomes == {"answered": len(callers)}
    assert (view.open_requests, view.models[0].prefill.waiting_tokens) == (0, 0)


def test_refused_and_cancelled_requests_are_counted_and_canaries_are_not() -> None:
    world = World(0, replace(CONFIG, canary_interval_ms=50))
    world.add_worker(Role.PREFILL, "p")
    world.add_worker(Role.DECODE, "d")
    gateway = world.add_gateway()
    world.submit(gateway, 10, 0)
    world.run(1_000.0)
    (seen,) = view_of(world.core.state, world.core.scaling, world.now_ms).models
    assert seen.outcomes == {"invalid_field": 1}
