"""The correctness sentinel: equal pairs stay, differing pairs are held, and callers never see it."""

from dataclasses import replace

import pytest

from services.common.domain import FailureKind, Path, Role
from services.router.core.actions import ReportPair, StartJob
from services.router.core.events import Forgive, SetRole
from services.router.core.pairs import CanaryResult
from tests.sim.invariants import check_callers
from tests.sim.world import CONFIG, Caller, World

INTERVAL_MS = 500


@pytest.fixture
def world() -> World:
    return World(0, replace(CONFIG, stall_timeout_ms=60_000, canary_interval_ms=INTERVAL_MS))


def results(world: World) -> set[CanaryResult]:
    return {pair.canary for pair in world.core.state.pairs}


def test_every_live_pair_is_compared_in_turn(world):
    for name in "ab":
        world.add_worker(Role.PREFILL, f"p{name}")
        world.add_worker(Role.DECODE, f"d{name}")
    world.run(8 * INTERVAL_MS)
    pairs = list(world.core.state.pairs)
    assert len(pairs) == 4
    assert results(world) == {CanaryResult.EQUAL}
    assert world.core.state.canary_mismatches == 0


def test_a_pair_that_differs_twice_is_held_and_its_decode_worker_prefills(world):
    world.add_worker(Role.PREFILL)
    bad = world.add_worker(Role.DECODE)
    bad.faults.corrupts_adopted = True
    world.run(4 * INTERVAL_MS)
    assert results(world) == {CanaryResult.DIFFERED}
    assert world.core.state.canary_mismatches == 1
    caller = world.submit(world.add_gateway(), 100, 5)
    world.run(world.now_ms + 2_000.0)
    receipt = caller.outcomes[0].receipt
    assert (receipt.path, receipt.path_reason) == (Path.LOCAL, "pair_suspended")
    check_callers(world)
    bad.faults.corrupts_adopted = False
    world.feed(Forgive())
    world.run(world.now_ms + 4 * INTERVAL_MS)
    assert results(world) == {CanaryResult.EQUAL}


def test_one_difference_is_tried_again_before_it_counts(world):
    world.add_worker(Role.PREFILL)
    decode = world.add_worker(Role.DECODE)
    decode.faults.corrupts_adopted = True
    world.run(1.0)
    while results(world) != {CanaryResult.DIFFERED_ONCE}:
        world.run(world.now_ms + 1.0)
    decode.faults.corrupts_adopted = False
    world.run(world.now_ms + 2 * INTERVAL_MS)
    assert results(world) == {CanaryResult.EQUAL}
    assert world.core.state.canary_mismatches == 0


def test_a_canary_that_fails_is_not_a_difference(world):
    world.add_worker(Role.PREFILL)
    world.add_worker(Role.DECODE).faults.adopt_fails = True
    world.run(3 * INTERVAL_MS)
    assert results(world) == {CanaryResult.FAILED}
    assert world.core.state.canary_mismatches == 0


def test_canaries_leave_nothing_behind_when_a_worker_dies_under_them(world):
    prefill = world.add_worker(Role.PREFILL)
    world.add_worker(Role.DECODE)
    world.run(10.0)
    prefill.die()
    world.run(world.now_ms + 200.0)
    assert not world.core.state.flights
    world.add_worker(Role.PREFILL)
    world.run(world.now_ms + 4 * INTERVAL_MS)
    assert CanaryResult.EQUAL in results(world)


@pytest.mark.parametrize("is_mended", [False, True])
def test_a_held_pair_whose_worker_comes_back_stays_held_until_it_is_compared(world, is_mended):
    world.add_worker(Role.PREFILL, "p")
    bad = world.add_worker(Role.DECODE, "d")
    bad.faults.corrupts_adopted = True
    world.run(4 * INTERVAL_MS)
    assert results(world) == {CanaryResult.DIFFERED}
    bad.die()
    world.run(world.now_ms + 10.0)
    assert results(world) == set()
    world.add_worker(Role.DECODE, "d").faults.corrupts_adopted = not is_mended
    gateway = world.add_gateway()
    at_once = world.submit(gateway, 100, 5)
    world.run(world.now_ms + 6 * INTERVAL_MS)
    later = world.submit(gateway, 100, 5)
    world.run(world.now_ms + 2_000.0)
    assert [(c.outcomes[0].receipt.path, c.outcomes[0].receipt.path_reason) for c in (at_once, later)] == [
        (Path.LOCAL, "pair_suspended"),
        (Path.DISAGGREGATED, "long_prompt") if is_mended else (Path.LOCAL, "pair_suspended"),
    ]
    check_callers(world)
    assert results(world) == {CanaryResult.EQUAL if is_mended else CanaryResult.DIFFERED}
    assert world.core.state.canary_mismatches == (1 if is_mended else 2)


def test_forgiving_trusts_a_pair_whose_worker_is_away(world):
    world.add_worker(Role.PREFILL, "p")
    bad = world.add_worker(Role.DECODE, "d")
    bad.faults.corrupts_adopted = True
    world.run(4 * INTERVAL_MS)
    bad.die()
    world.feed(Forgive())
    world.stop_canaries()
    world.add_worker(Role.DECODE, "d")
    caller = world.submit(world.add_gateway(), 100, 5)
    world.run(world.now_ms + 2_000.0)
    assert caller.outcomes[0].receipt.path is Path.DISAGGREGATED


def test_a_canary_that_a_leaving_worker_turns_away_says_nothing_of_other_pairs(world):
    world.add_worker(Role.PREFILL, "p").faults.job_fails = FailureKind.LEAVING
    world.add_worker(Role.PREFILL, "q")
    world.add_worker(Role.DECODE, "d")
    world.run(1.8 * INTERVAL_MS)
    assert {pair.names: pair.canary for pair in world.core.state.pairs} == {
        ("p", "d"): CanaryResult.FAILED,
        ("q", "d"): CanaryResult.EQUAL,
    }


def reports(world: World) -> list[ReportPair]:
    return [action for _, action in world.log if isinstance(action, ReportPair)]


def path_of(caller: Caller) -> tuple[Path, str]:
    receipt = caller.outcomes[0].receipt
    return receipt.path, receipt.path_reason


@pytest.fixture
def rare() -> World:
    """Canaries in turn come once an hour, so that only first ones are seen."""
    return World(0, replace(CONFIG, stall_timeout_ms=60_000, canary_interval_ms=3_600_000))


def test_all_new_pairs_are_tried_at_once(rare):
    for name in "abc":
        rare.add_worker(Role.PREFILL, f"p{name}")
        rare.add_worker(Role.DECODE, f"d{name}")
    rare.run(1_000.0)
    assert len(list(rare.core.state.pairs)) == 9
    assert results(rare) == {CanaryResult.EQUAL}


def test_every_decode_worker_of_a_new_fleet_is_tried_before_any_has_all_its_pairs(rare):
    for number in range(8):
        rare.add_worker(Role.PREFILL, f"p{number}")
    for number in range(8):
        rare.add_worker(Role.DECODE, f"d{number}")
    rare.run(rare.now_ms + 51.0)  # the first tick
    begun = {action.session for _, action in rare.log if isinstance(action, StartJob)}
    assert len(begun) == 8  # each prefill worker's first canaries, for as many decode workers
    decodes = {f.decode_seat.worker.worker_id for f in rare.core.state.flights.values()}
    assert len(decodes) == 8
    rare.run(5_000.0)
    assert results(rare) == {CanaryResult.EQUAL}


def test_a_request_waits_for_the_first_canary_of_the_only_pair(rare):
    rare.add_worker(Role.PREFILL)
    rare.add_worker(Role.DECODE)
    caller = rare.submit(rare.add_gateway(), 100, 5)
    rare.run(1_000.0)
    assert path_of(caller) == (Path.DISAGGREGATED, "long_prompt")
    check_callers(rare)


def test_a_pair_whose_first_canary_is_not_handed_over_is_refused_until_one_is(rare):
    rare.add_worker(Role.PREFILL, "p")
    decode = rare.add_worker(Role.DECODE, "d")
    decode.faults.adopt_fails = True
    gateway = rare.add_gateway()
    early = rare.submit(gateway, 100, 5)
    rare.run(1_000.0)
    (report,) = reports(rare)
    assert (report.prefill_worker, report.decode_worker) == ("p", "d")
    assert report.why
    late = rare.submit(gateway, 100, 5)
    demanding = rare.submit(gateway, 100, 5, strict_disaggregation=True)
    rare.run(2_000.0)
    assert path_of(early) == path_of(late) == (Path.LOCAL, "pair_refused")
    assert early.outcomes[0].receipt.retries == late.outcomes[0].receipt.retries == 0
    assert "pair_refused" in demanding.outcomes[0].error.message
    rare.run(3 * CONFIG.refused_pair_retry_ms)
    assert len(reports(rare)) == 1  # said once
    decode.faults.adopt_fails = False
    rare.run(5 * CONFIG.refused_pair_retry_ms)
    assert [report.why for report in reports(rare)[1:]] == [""]
    mended = rare.submit(gateway, 100, 5)
    rare.run(rare.now_ms + 1_000.0)
    assert path_of(mended) == (Path.DISAGGREGATED, "long_prompt")
    check_callers(rare)


def test_other_pairs_of_a_refused_pairs_workers_serve(rare):
    rare.add_worker(Role.PREFILL, "p")
    rare.add_worker(Role.DECODE, "bad", kv_blocks=400).faults.adopt_fails = True
    rare.add_worker(Role.DECODE, "good")
    rare.run(1_000.0)
    refused = {pair.names for pair in rare.core.state.pairs if pair.refusal}
    assert refused == {("p", "bad")}
    gateway = rare.add_gateway()
    callers = [rare.submit(gateway, 100, 5) for _ in range(6)]
    rare.run(3_000.0)
    assert {caller.outcomes[0].receipt.retries for caller in callers} == {0}
    check_callers(rare)


def test_a_request_does_not_wait_long_for_a_canary_that_is_stuck(rare):
    rare.add_worker(Role.PREFILL)
    rare.add_worker(Role.DECODE).faults.adopt_never = True
    caller = rare.submit(rare.add_gateway(), 100, 5)
    rare.run(CONFIG.canary_wait_ms_max + 1_000.0)
    assert path_of(caller) == (Path.LOCAL, "pair_untried")
    rare.run(CONFIG.canary_handoff_ms_max + CONFIG.adoption_grace_ms + 2_000.0)
    (report,) = reports(rare)
    assert "in time" in report.why


def test_forgiving_tries_a_refused_pair_at_once(rare):
    rare.add_worker(Role.PREFILL)
    decode = rare.add_worker(Role.DECODE)
    decode.faults.adopt_fails = True
    rare.run(1_000.0)
    decode.faults.adopt_fails = False
    rare.feed(Forgive())
    rare.run(2_000.0)
    assert results(rare) == {CanaryResult.EQUAL}
    assert not rare.core.state.pairs.refused


def test_a_pair_that_has_handed_over_is_not_refused_for_a_later_canary(world):
    world.add_worker(Role.PREFILL)
    decode = world.add_worker(Role.DECODE)
    world.run(INTERVAL_MS)
    decode.faults.adopt_fails = True
    world.run(2 * INTERVAL_MS)
    assert results(world) == {CanaryResult.FAILED}
    assert reports(world) == []


def test_a_worker_that_comes_back_is_tried_again(rare):
    rare.add_worker(Role.PREFILL, "p")
    decode = rare.add_worker(Role.DECODE, "d")
    decode.faults.adopt_fails = True
    rare.run(1_000.0)
    decode.die()
    rare.run(1_100.0)
    assert not rare.core.state.pairs.refused
    rare.add_worker(Role.DECODE, "d")
    caller = rare.submit(rare.add_gateway(), 100, 5)
    rare.run(3_000.0)
    assert path_of(caller) == (Path.DISAGGREGATED, "long_prompt")


def test_a_new_pair_of_a_changed_role_is_tried(rare):
    rare.add_worker(Role.PREFILL, "p")
    rare.add_worker(Role.DECODE, "d")
    other = rare.add_worker(Role.DECODE, "x")
    rare.run(1_000.0)
    rare.feed(SetRole(other.registration.worker_id, Role.PREFILL))
    rare.run(2_000.0)
    pairs = {pair.names: pair.canary for pair in rare.core.state.pairs}
    assert pairs["x", "d"] is CanaryResult.EQUAL
