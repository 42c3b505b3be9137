"""The correctness sentinel: equal pairs stay, differing pairs are held, and callers never see it."""

from dataclasses import replace

import pytest

from services.common.domain import FailureKind, Path, Role
from services.router.core.events import Forgive
from services.router.core.pairs import CanaryResult
from tests.sim.invariants import check_callers
from tests.sim.world import CONFIG, World

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
    compared = [pair for pair in world.core.state.pairs if pair.canary is not CanaryResult.UNKNOWN]
    assert [(pair.names, pair.canary) for pair in compared] == [(("p", "d"), CanaryResult.FAILED)]
