"""Breakers, the retry budget and the quarantine: alone, and in the core."""

import json
import stat
from dataclasses import replace

import pytest

from services.common.domain import FailureKind, FinishReason, Path, Role
from services.common.domain.tokens import tokens
from services.common.errors import QuarantinedPrompt, RetriesExhausted
from services.router.core.actions import RecordPrompt
from services.router.core.breaker import COOLDOWN_MS_MAX, COOLDOWN_MS_MIN, FAULTS_TO_OPEN, Breaker
from services.router.core.budget import RetryBudget
from services.router.core.events import WorkerDetached
from services.router.core.quarantine import COMMON_SUSPECTS_MAX, Quarantine
from services.router.poison import PoisonLog
from tests.sim.invariants import check
from tests.sim.world import CONFIG, World


def opened(breaker: Breaker, now_ms: float = 0.0) -> bool:
    return [breaker.fault(now_ms) for _ in range(FAULTS_TO_OPEN)] == [False] * (FAULTS_TO_OPEN - 1) + [True]


def test_a_breaker_opens_after_consecutive_faults_only():
    breaker = Breaker()
    for _ in range(5):
        breaker.fault(0.0)
        breaker.success()
    assert not breaker.is_open(0.0)
    assert opened(breaker)
    assert breaker.is_open(COOLDOWN_MS_MIN - 1)


def test_a_half_open_breaker_closes_with_one_success_and_opens_longer_with_one_fault():
    breaker = Breaker()
    opened(breaker)
    assert breaker.is_half_open(COOLDOWN_MS_MIN)
    assert breaker.fault(COOLDOWN_MS_MIN)
    assert breaker.is_open(COOLDOWN_MS_MIN * 3 - 1)
    assert breaker.is_half_open(COOLDOWN_MS_MIN * 3)
    breaker.success()
    assert not breaker.is_open(0.0)
    assert not breaker.is_half_open(1e9)


def test_the_cooldown_is_bounded():
    breaker, now_ms = Breaker(), 0.0
    opened(breaker)
    for _ in range(20):
        now_ms = breaker.open_until_ms
        breaker.fault(now_ms)
    assert breaker.open_until_ms == now_ms + COOLDOWN_MS_MAX


def test_a_held_breaker_stays_open_until_released():
    breaker = Breaker()
    breaker.hold()
    breaker.success()
    assert breaker.is_open(1e12)
    breaker.release()
    assert not breaker.is_open(0.0)


def test_the_budget_is_a_share_of_the_requests_with_a_burst():
    budget = RetryBudget(burst=2, per_request=0.5)
    assert [budget.take() for _ in range(3)] == [True, True, False]
    budget.request_admitted()
    assert not budget.take()
    budget.request_admitted()
    assert budget.take()
    for _ in range(100):
        budget.request_admitted()
    assert budget.left == 2


def test_content_on_two_dying_workers_is_refused():
    quarantine = Quarantine()
    bad, good = tokens([1, 2, 3]), tokens([4])
    assert quarantine.worker_died(1, [("a", bad), ("a", good)]) == []
    assert not quarantine.holds("a", bad)
    assert quarantine.worker_died(1, [("a", bad)]) == []
    assert not quarantine.holds("a", bad)
    [told] = quarantine.worker_died(2, [("a", bad), ("b", bad)])
    assert told.endswith("of tenant a")
    assert quarantine.holds("a", tokens([1, 2, 3]))
    assert not quarantine.holds("a", good)
    assert not quarantine.holds("b", bad)
    assert quarantine.worker_died(3, [("a", bad)]) == []
    assert quarantine.release() == [told]
    assert not quarantine.holds("a", bad)


def test_what_was_answered_between_two_deaths_is_innocent():
    quarantine = Quarantine()
    asked_again, deadly = tokens([1, 2, 3]), tokens([4])
    quarantine.worker_died(1, [("a", asked_again), ("a", deadly)])
    quarantine.answered("a", asked_again)
    quarantine.worker_died(2, [("a", asked_again), ("a", deadly)])
    assert not quarantine.holds("a", asked_again)
    assert quarantine.holds("a", deadly)
    quarantine.answered("a", deadly)
    assert quarantine.holds("a", deadly)  # what is refused stays refused


def test_many_common_suspects_are_innocent():
    quarantine = Quarantine()
    crowd = [("a", tokens([i])) for i in range(COMMON_SUSPECTS_MAX + 1)]
    quarantine.worker_died(1, crowd)
    quarantine.worker_died(2, crowd)
    assert len(quarantine) == 0


@pytest.fixture
def world() -> World:
    return World(0, replace(CONFIG, stall_timeout_ms=60_000, canary_interval_ms=0))


def test_a_prompt_that_kills_two_workers_is_refused_and_recorded(world):
    workers = [world.add_worker(Role.DECODE, f"d{i}") for i in range(3)]
    caller = world.submit(world.add_gateway(), 10, 60)
    for _ in range(2):
        world.run(world.now_ms + 100.0)
        next(w for w in workers if w.jobs).die()
    world.run(world.now_ms + 1_000.0)
    assert isinstance(caller.outcomes[0].error, QuarantinedPrompt)
    assert any(isinstance(entry, RecordPrompt) for _, entry in world.log)
    again = world.submit(caller.session, 10, 5)
    world.run(world.now_ms + 1_000.0)
    assert again.outcomes[0].reason is FinishReason.LENGTH
    check(world)


def test_no_prompt_is_suspected_where_workers_are_only_lost_to_sight(world):
    """A host that stands still takes a worker's session with it, and the next one's, with the same prompt."""
    for i in range(3):
        world.add_worker(Role.DECODE, f"d{i}")
    caller = world.submit(world.add_gateway(), 10, 60)
    for _ in range(2):
        world.run(world.now_ms + 100.0)
        lost = next(w for w in world.workers.values() if w.jobs)
        del world.workers[lost.session]
        lost.alive = False
        world.feed(WorkerDetached(lost.session, lost.newest_job, has_died=False))
    world.run(world.now_ms + 5_000.0)
    assert caller.outcomes[0].reason is FinishReason.LENGTH
    assert caller.outcomes[0].receipt.retries == 2
    check(world)


def test_no_prompt_is_suspected_that_came_to_a_worker_already_dead(world):
    """Two workers of one host are killed together; what the first had is placed on the second, a corpse."""
    workers = [world.add_worker(Role.DECODE, f"d{i}") for i in range(3)]
    caller = world.submit(world.add_gateway(), 10, 60)
    world.run(world.now_ms + 100.0)
    next(w for w in workers if w.jobs).die()
    fleet = world.core.state.fleet.workers
    corpse = next(w for w in workers if w.alive and fleet[w.session].jobs)
    corpse.die()
    world.run(world.now_ms + 5_000.0)
    assert caller.outcomes[0].reason is FinishReason.LENGTH
    assert caller.outcomes[0].receipt.retries == 2
    check(world)


def test_a_worker_that_keeps_failing_gets_nothing_until_it_is_probed(world):
    bad = world.add_worker(Role.DECODE, "bad")
    world.add_worker(Role.DECODE, "good")
    bad.faults.job_fails = FailureKind.ENGINE
    gateway = world.add_gateway()
    callers = [world.submit(gateway, 10, 5) for _ in range(12)]
    world.run(COOLDOWN_MS_MIN - 500.0)
    seen = bad.jobs_started
    callers += [world.submit(gateway, 10, 5) for _ in range(6)]
    world.run(world.now_ms + 400.0)
    assert bad.jobs_started == seen
    bad.faults.job_fails = None
    world.run(world.now_ms + 500.0)
    callers += [world.submit(gateway, 10, 5) for _ in range(4)]
    assert bad.jobs_started <= seen + 1
    world.run(world.now_ms + 2_000.0)
    assert bad.jobs_started == seen + 1
    callers += [world.submit(gateway, 10, 5) for _ in range(4)]
    world.run(world.now_ms + 2_000.0)
    assert bad.jobs_started > seen + 1
    assert {c.outcomes[0].reason for c in callers} == {FinishReason.LENGTH}
    check(world)


def test_a_pair_that_keeps_failing_is_suspended_and_its_decode_worker_prefills(world):
    world.add_worker(Role.PREFILL)
    world.add_worker(Role.DECODE).faults.adopt_fails = True
    gateway = world.add_gateway()
    for _ in range(FAULTS_TO_OPEN):
        world.submit(gateway, 100, 5)
        world.run(world.now_ms + 300.0)
    caller = world.submit(gateway, 100, 5)
    world.run(world.now_ms + 1_000.0)
    receipt = caller.outcomes[0].receipt
    assert (receipt.path, receipt.path_reason, receipt.retries) == (Path.LOCAL, "pair_suspended", 0)


def test_a_callers_mistake_and_a_leaving_worker_open_no_breaker(world):
    worker = world.add_worker(Role.DECODE)
    gateway = world.add_gateway()
    for kind in (FailureKind.INVALID, FailureKind.LEAVING):
        worker.faults.job_fails = kind
        for _ in range(FAULTS_TO_OPEN + 1):
            world.submit(gateway, 10, 5)
            world.run(world.now_ms + 200.0)
    assert not world.core.state.fleet.workers[worker.session].breaker.is_open(world.now_ms)


def test_when_the_retry_budget_is_spent_failures_reach_the_caller():
    world = World(0, replace(CONFIG, retry_budget_burst=2, retry_budget_per_request=0.0))
    world.add_worker(Role.DECODE)
    gateway = world.add_gateway()
    callers = [world.submit(gateway, 10, 60) for _ in range(5)]
    world.run(200.0)
    victim = next(iter(world.workers.values()))
    world.add_worker(Role.DECODE)
    victim.die()
    world.run(5_000.0)
    errors = [c.outcomes[0].error for c in callers]
    assert sum(isinstance(e, RetriesExhausted) for e in errors) == 3
    assert sum(e is None for e in errors) == 2
    check(world)


def test_a_prompt_is_kept_for_reproduction_and_a_full_disk_does_no_harm(world, tmp_path, caplog):
    request = world.submit(world.add_gateway(), 10, 5).request
    PoisonLog(str(tmp_path / "kept")).record(request, "it died")
    (kept,) = (tmp_path / "kept").glob("*.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert request.request_id not in kept.name, "callers choose it"
    assert json.loads(kept.read_text())["prompt"] == list(request.prompt)
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    PoisonLog(str(blocked)).record(request, "it died")
    assert "cannot keep request" in caplog.text
