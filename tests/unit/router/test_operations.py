"""What operators do to the fleet, and what it costs the requests in flight: nothing."""

from dataclasses import replace

import pytest

from services.common.domain import FinishReason, Path, Role
from services.common.domain.tokens import tokens
from services.common.errors import InvalidField, OperationRefused, WorkerNotFound
from services.router.core.events import (
    Activate,
    Drain,
    Forgive,
    SetLocalThreshold,
    SetRole,
    StandBy,
    Undrain,
    WorkerDraining,
)
from tests.sim.invariants import check
from tests.sim.world import CONFIG, World

DWELL_MS = 1_000


@pytest.fixture
def world() -> World:
    config = replace(CONFIG, stall_timeout_ms=60_000, canary_interval_ms=0)
    return World(0, replace(config, role_dwell_ms_min=DWELL_MS, role_flips_per_hour_max=2))


def core_worker(world: World, name: str):
    return next(w for w in world.core.state.fleet.workers.values() if w.worker_id == name)


def finish(world: World, *callers) -> list[str]:
    world.run(world.now_ms + 20_000.0)
    check(world)
    assert {c.outcomes[0].reason for c in callers} <= {FinishReason.LENGTH}
    return [c.outcomes[0].receipt.decode_worker for c in callers]


def test_drain_and_undrain(world):
    for name in "ab":
        world.add_worker(Role.DECODE, name)
    gateway = world.add_gateway()
    before = [world.submit(gateway, 10, 60) for _ in range(2)]
    world.feed(Drain("a"))
    during = [world.submit(gateway, 10, 5) for _ in range(4)]
    assert sorted(finish(world, *before)) == ["a", "b"]
    assert {c.outcomes[0].receipt.decode_worker for c in during} == {"b"}
    world.feed(Undrain("a"))
    after = [world.submit(gateway, 10, 5) for _ in range(2)]
    assert sorted(finish(world, *after)) == ["a", "b"]


def test_a_worker_that_leaves_cannot_be_undrained(world):
    worker = world.add_worker(Role.DECODE, "a")
    world.feed(WorkerDraining(worker.session))
    with pytest.raises(OperationRefused):
        world.feed(Undrain("a"))


def test_standby_workers_get_nothing_until_activated(world):
    world.add_worker(Role.DECODE, "spare", standby=1)
    gateway = world.add_gateway()
    caller = world.submit(gateway, 10, 5)
    world.run(500.0)
    assert not caller.outcomes
    world.feed(Activate("spare"))
    assert finish(world, caller) == ["spare"]
    world.feed(StandBy("spare"))
    waiting = world.submit(gateway, 10, 5)
    world.run(world.now_ms + 500.0)
    assert not waiting.outcomes
    world.feed(Activate("spare"))
    assert finish(world, waiting) == ["spare"]


def test_a_flip_drains_first_and_loses_nothing(world):
    world.add_worker(Role.PREFILL, "p")
    world.add_worker(Role.DECODE, "a")
    world.add_worker(Role.DECODE, "b")
    gateway = world.add_gateway()
    world.run(DWELL_MS)
    running = [world.submit(gateway, 100, 60) for _ in range(4)]
    world.run(world.now_ms + 150.0)
    world.feed(SetRole("a", Role.PREFILL))
    assert core_worker(world, "a").role is Role.DECODE
    world.submit(gateway, 100, 5)
    finish(world, *running)
    assert core_worker(world, "a").role is Role.PREFILL
    later = [world.submit(gateway, 100, 5) for _ in range(4)]
    assert set(finish(world, *later)) == {"b"}
    assert {c.outcomes[0].receipt.prefill_worker for c in later} == {"a", "p"}


def test_an_idle_worker_flips_at_once(world):
    world.add_worker(Role.PREFILL, "p")
    world.run(DWELL_MS)
    world.feed(SetRole("p", Role.BOTH))
    assert core_worker(world, "p").role is Role.BOTH
    caller = world.submit(world.add_gateway(), 100, 5)
    assert finish(world, caller) == ["p"]
    assert caller.outcomes[0].receipt.path is Path.LOCAL


def test_flips_have_a_dwell_time_an_hourly_cap_and_a_fixed_role(world):
    world.add_worker(Role.DECODE, "a")
    world.add_worker(Role.DECODE, "fixed", role_is_fixed=1)
    with pytest.raises(OperationRefused) as soon:
        world.feed(SetRole("a", Role.PREFILL))
    assert soon.value.retry_after_ms == DWELL_MS
    world.run(DWELL_MS)
    with pytest.raises(OperationRefused, match="one role only"):
        world.feed(SetRole("fixed", Role.PREFILL))
    for role in (Role.PREFILL, Role.DECODE):
        world.feed(SetRole("a", role))
        world.run(world.now_ms + DWELL_MS)
    with pytest.raises(OperationRefused, match="within an hour"):
        world.feed(SetRole("a", Role.PREFILL))
    world.run(world.now_ms + 3_600_000.0)
    world.feed(SetRole("a", Role.PREFILL))
    assert core_worker(world, "a").role is Role.PREFILL


def test_the_threshold_moves_the_path(world):
    world.add_worker(Role.PREFILL, "p")
    world.add_worker(Role.DECODE, "d")
    gateway = world.add_gateway()
    world.feed(SetLocalThreshold(200))
    local = world.submit(gateway, 100, 5)
    world.feed(SetLocalThreshold(0))
    remote = world.submit(gateway, 10, 5)
    finish(world, local, remote)
    assert [c.outcomes[0].receipt.path for c in (local, remote)] == [Path.LOCAL, Path.DISAGGREGATED]
    with pytest.raises(InvalidField):
        world.feed(SetLocalThreshold(-1))


def test_forgiving_closes_breakers(world):
    worker = world.add_worker(Role.DECODE, "d")
    for _ in range(3):
        core_worker(world, "d").breaker.fault(world.now_ms)
    caller = world.submit(world.add_gateway(), 10, 5)
    world.run(100.0)
    assert worker.jobs_started == 0
    world.feed(Forgive())
    assert finish(world, caller) == ["d"]


@pytest.mark.parametrize("order", [Drain, Undrain, StandBy, Activate])
def test_orders_for_unknown_workers_change_nothing(world, order):
    with pytest.raises(WorkerNotFound):
        world.feed(order("nobody"))


def test_a_dry_run_tells_and_changes_nothing(world):
    gateway = world.add_gateway()
    template = world.submit(gateway, 100, 5).request
    assert world.core.explain(template, world.now_ms).refusal.reason == "model_not_found"
    world.add_worker(Role.PREFILL, "p")
    assert world.core.explain(template, world.now_ms).waits_for == "decode"
    world.add_worker(Role.DECODE, "d")
    told = world.core.explain(template, world.now_ms)
    assert (told.prefill_worker, told.decode_worker, told.choice.reason) == ("p", "d", "long_prompt")
    short = world.core.explain(replace(template, prompt=tokens([1])), world.now_ms)
    assert (short.prefill_worker, short.choice.path) == ("", Path.LOCAL)
    assert not world.core.state.flights
    assert core_worker(world, "d").is_empty


def test_no_flips_an_hour_are_none():
    config = replace(CONFIG, stall_timeout_ms=60_000, canary_interval_ms=0, role_dwell_ms_min=0)
    world = World(0, replace(config, role_flips_per_hour_max=0))
    world.add_worker(Role.DECODE, "a")
    with pytest.raises(OperationRefused, match="0 flips within an hour"):
        world.feed(SetRole("a", Role.PREFILL))
