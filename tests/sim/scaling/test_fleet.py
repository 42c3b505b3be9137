"""The scaler inside the router's core: spares, drains and flips, with requests in flight."""

from dataclasses import replace

import pytest

from services.common.domain import FinishReason, Role
from services.router.core.events import Drain, ScalerAttached, ScalerDetached
from services.router.core.fleet import WorkerState
from services.router.core.scaling.rules import ScalingConfig, TierRules
from services.router.core.scaling.scaling import ADVICE_TTL_MS, ADVISED_MAX
from tests.sim.invariants import check
from tests.sim.world import CONFIG, World

pytestmark = pytest.mark.timeout(300)
DRIVER = 900
RULES = TierRules(
    replicas_max=4,
    target_wait_ms=100,
    down_cooldown_ms=3_000,
    down_interval_ms=500,
    rate_window_ms=500,
    cold_start_ms=1_000,
)


def world_of(seed=0, **scaling) -> World:
    usual = {"prefill": RULES, "decode": RULES, "acts": True, "rebalances": False}
    config = ScalingConfig(**(usual | scaling))
    return World(seed, replace(CONFIG, scaling=config, canary_interval_ms=0, stall_timeout_ms=60_000))


def states(world: World) -> dict[str, str]:
    return {w.worker_id: w.state.name.lower() for w in world.core.state.fleet.workers.values()}


def submit_every(world: World, gateway: int, gap_ms: float, until_ms: float, prompt=10, answer=60) -> list:
    callers: list = []

    def submit() -> None:
        callers.append(world.submit(gateway, prompt, answer))
        if world.now_ms + gap_ms < until_ms:
            world.at(gap_ms, submit)

    world.at(gap_ms, submit)
    return callers


def end_stoppable(world: World) -> list[str]:
    """What a supervisor does about drained workers."""
    ended = []
    for worker in world.core.scaling.steward.stoppable():
        world.workers[worker.session].die()
        ended.append(worker.worker_id)
    return ended


def all_whole(callers) -> bool:
    return all(c.outcomes and c.outcomes[0].reason is FinishReason.LENGTH for c in callers)


def test_a_spare_serves_within_a_second_of_the_burst_and_is_asked_for_again():
    world = world_of(decode=replace(RULES, spares=1))
    world.add_worker(Role.DECODE, "a", max_running_requests=4)
    world.add_worker(Role.DECODE, "spare", max_running_requests=4, standby=1)
    gateway = world.add_gateway()
    world.run(2_000.0)
    assert states(world) == {"a": "serving", "spare": "standby"}
    callers = [world.submit(gateway, 10, 60) for _ in range(8)]
    world.run(3_000.0)
    assert states(world)["spare"] == "serving"
    assert world.core.scaling.tiers["m", Role.DECODE].decision.replicas >= 3
    assert world.core.scaling.tiers["m", Role.DECODE].decision.coming >= 1
    world.run(20_000.0)
    assert all_whole(callers)
    check(world)


def test_without_acting_it_only_tells():
    world = world_of(acts=False)
    world.add_worker(Role.DECODE, "a", max_running_requests=4)
    world.add_worker(Role.DECODE, "spare", max_running_requests=4, standby=1)
    for _ in range(8):
        world.submit(gateway := world.add_gateway(), 10, 60)
    world.run(1_000.0)
    assert gateway
    assert states(world) == {"a": "serving", "spare": "standby"}
    assert world.core.scaling.tiers["m", Role.DECODE].decision.desired >= 2


@pytest.mark.parametrize("seed", range(10))
def test_a_scale_down_under_load_loses_nothing(seed):
    world = world_of(seed)
    world.feed(ScalerAttached(DRIVER))
    for name in "abc":
        world.add_worker(Role.DECODE, name, kv_blocks=400, max_running_requests=32)
    gateway = world.add_gateway()
    callers = submit_every(world, gateway, 100.0, 12_000.0, answer=200)
    ended: list[str] = []
    while world.now_ms < 20_000.0:
        world.run(world.now_ms + 50.0)
        ended += end_stoppable(world)
    assert len(ended) == 2
    assert all_whole(callers)
    assert {c.outcomes[0].receipt.retries for c in callers} == {0}
    check(world)


def test_the_emptiest_goes_and_comes_back_when_it_is_needed_before_its_end():
    world = world_of()
    world.feed(ScalerAttached(DRIVER))
    for name in "ab":
        worker = world.add_worker(Role.DECODE, name, max_running_requests=8, kv_blocks=1_000)
        worker.faults.slow = 3.0
    gateway = world.add_gateway()
    long = [world.submit(gateway, 10, 600) for _ in range(3)]
    world.run(4_500.0)
    (leaving,) = world.core.scaling.steward.retiring.values()
    other = next(w for w in world.core.state.fleet.workers.values() if w is not leaving)
    assert leaving.slots_taken < other.slots_taken
    assert leaving.state is WorkerState.DRAINING
    burst = [world.submit(gateway, 10, 60) for _ in range(14)]
    world.run(5_500.0)
    assert set(states(world).values()) == {"serving"}
    world.run(60_000.0)
    assert all_whole([*long, *burst])


def test_nothing_is_taken_away_while_nobody_would_end_it_and_what_is_on_its_way_out_returns():
    world = world_of()
    for name in "ab":
        world.add_worker(Role.DECODE, name)
    world.run(6_000.0)
    assert states(world) == {"a": "serving", "b": "serving"}
    world.feed(ScalerAttached(DRIVER))
    world.run(7_000.0)
    assert sorted(states(world).values()) == ["draining", "serving"]
    world.feed(ScalerDetached(DRIVER))
    world.run(8_000.0)
    assert states(world) == {"a": "serving", "b": "serving"}


def test_a_surplus_worker_becomes_a_spare_and_surplus_spares_end():
    world = world_of(decode=replace(RULES, spares=1))
    world.feed(ScalerAttached(DRIVER))
    for name in "abcd":
        world.add_worker(Role.DECODE, name)
    world.run(15_000.0)
    assert sorted(states(world).values()) == ["draining", "draining", "serving", "standby"]
    assert len(end_stoppable(world)) == 2


def test_an_idle_tiers_worker_changes_over_to_a_starving_tier():
    world = world_of(rebalances=True, starve_ms=1_000.0, prefill=replace(RULES, target_occupancy=0.5))
    world.add_worker(Role.PREFILL, "p", max_batched_tokens=200, max_running_requests=2)
    for name in "abc":
        world.add_worker(Role.DECODE, name, kv_blocks=2_000, max_running_requests=64)
    gateway = world.add_gateway()
    callers = submit_every(world, gateway, 60.0, 10_000.0, prompt=500, answer=2)
    world.run(30_000.0)
    roles = [w.role for w in world.core.state.fleet.workers.values()]
    assert roles.count(Role.PREFILL) >= 2
    assert roles.count(Role.DECODE) >= 1
    assert sum(1 for c in callers if c.outcomes[0].reason is FinishReason.LENGTH) == len(callers)
    check(world)


def test_a_flip_that_is_refused_changes_nothing():
    world = world_of(rebalances=True, starve_ms=1_000.0)
    world.add_worker(Role.PREFILL, "p", max_batched_tokens=200, max_running_requests=2)
    for name in "abc":
        world.add_worker(Role.DECODE, name, kv_blocks=2_000, role_is_fixed=1)
    submit_every(world, world.add_gateway(), 60.0, 5_000.0, prompt=500, answer=2)
    world.run(20_000.0)
    roles = [w.role for w in world.core.state.fleet.workers.values()]
    assert roles.count(Role.PREFILL) == 1


def test_refused_requests_count_as_wanted():
    world = world_of()
    world.add_worker(Role.DECODE, "a", kv_blocks=60, max_running_requests=4)
    gateway = world.add_gateway()
    callers = [world.submit(gateway, 10, 60) for _ in range(100)]
    assert sum(1 for c in callers if c.outcomes) > 10
    assert world.core.state.demand_of("m").decode.arrived_requests == 100


def test_a_worker_that_an_operator_drains_is_replaced():
    world = world_of()
    for name in "ab":
        world.add_worker(Role.DECODE, name)
    world.run(1_000.0)
    world.feed(Drain("a"))
    world.run(2_000.0)
    watched = world.core.scaling.tiers["m", Role.DECODE]
    assert (watched.decision.desired, watched.signal.attached, watched.decision.coming) == (2, 1, 1)


def test_advice_that_nobody_asks_for_is_forgotten():
    world = world_of()
    world.add_worker(Role.DECODE, "a")
    scaling = world.core.scaling
    for most in range(100):
        scaling.advice("m", Role.DECODE, replace(RULES, replicas_max=most + 1), world.now_ms)
    assert len(scaling._advised) == ADVISED_MAX
    newest = scaling.advice("m", Role.DECODE, replace(RULES, replicas_max=100), world.now_ms)
    assert newest.decision.desired == 1
    scaling.settle(world.now_ms + ADVICE_TTL_MS + 1_000)
    assert not scaling._advised
