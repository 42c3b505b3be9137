"""LoRA adapters: requests run where their adapter is, and nobody waits for one that is nowhere."""

from dataclasses import replace

import pytest

from services.common.domain import FinishReason, Path, Role, ServiceClass
from services.common.errors import NoWorkers, PathUnavailable
from services.router.core.events import Drain, WorkerAttached
from services.router.core.models import served_models
from tests.sim.invariants import check
from tests.sim.world import CONFIG, World


@pytest.fixture
def world() -> World:
    return World(0, replace(CONFIG, stall_timeout_ms=60_000, canary_interval_ms=0))


def outcome_of(world: World, caller: object, at_ms: float = 60_000.0):
    world.run(world.now_ms + at_ms)
    check(world)
    return caller.outcomes[0]


def test_a_request_runs_where_its_adapter_is_on_both_tiers(world):
    for role in (Role.PREFILL, Role.DECODE):
        world.add_worker(role, f"{role.name}-plain")
        world.add_worker(role, f"{role.name}-able", adapters=("style",))
    gateway = world.add_gateway()
    for _ in range(3):
        receipt = outcome_of(world, world.submit(gateway, 100, 5, lora="style")).receipt
        assert (receipt.prefill_worker, receipt.decode_worker) == ("PREFILL-able", "DECODE-able")


def test_without_an_able_prefill_worker_the_decode_worker_runs_the_prompt(world):
    world.add_worker(Role.PREFILL)
    world.add_worker(Role.DECODE, adapters=("style",))
    gateway = world.add_gateway()
    receipt = outcome_of(world, world.submit(gateway, 100, 5, lora="style")).receipt
    assert (receipt.path, receipt.path_reason) == (Path.LOCAL, "no_prefill_worker")
    strict = world.submit(gateway, 100, 5, lora="style", strict_disaggregation=True)
    assert isinstance(outcome_of(world, strict).error, PathUnavailable)


def test_an_adapter_that_nobody_has_is_refused_at_once(world):
    world.add_worker(Role.DECODE, adapters=("tone",))
    caller = world.submit(world.add_gateway(), 10, 5, lora="style")
    error = caller.outcomes[0].error
    assert isinstance(error, NoWorkers)
    assert error.field == "model"


def test_who_waits_for_an_adapter_that_has_gone_holds_up_nobody(world):
    able = world.add_worker(Role.DECODE, adapters=("style",), max_running_requests=1)
    plain = world.add_worker(Role.DECODE, max_running_requests=1)
    gateway = world.add_gateway()
    first = [world.submit(gateway, 10, 20, lora="style"), world.submit(gateway, 10, 20)]
    waiting = world.submit(gateway, 10, 5, lora="style")
    behind = world.submit(gateway, 10, 5)
    world.run(50.0)
    able.die()
    assert isinstance(waiting.outcomes[0].error, NoWorkers)
    assert outcome_of(world, behind).reason is FinishReason.LENGTH
    assert first[1].outcomes[0].reason is FinishReason.LENGTH
    assert plain.jobs_started == 2


def test_a_full_able_worker_does_not_make_the_tier_full_for_others(world):
    world.add_worker(Role.DECODE, "able", adapters=("style",), max_running_requests=1)
    world.add_worker(Role.DECODE, "plain", max_running_requests=1)
    gateway = world.add_gateway()
    world.submit(gateway, 10, 60, lora="style")
    second = world.submit(gateway, 10, 1, lora="style", service_class=ServiceClass.BATCH)
    third = world.submit(gateway, 10, 1)
    end = outcome_of(world, third)
    assert end.receipt.decode_worker == "plain"
    assert end.receipt.queue_ms < second.outcomes[0].receipt.queue_ms


def test_models_are_listed_with_the_adapters_of_decode_workers_that_serve(world):
    world.add_worker(Role.PREFILL, adapters=("only-prefill",))
    world.add_worker(Role.DECODE, "one", adapters=("style", "tone"))
    world.add_worker(Role.DECODE, "two", adapters=("tone",))
    assert served_models(world.core.state)[0].adapters == ("style", "tone")
    world.feed(Drain("one"))
    assert served_models(world.core.state)[0].adapters == ("tone",)


def test_two_adapters_of_one_name_are_one_too_many(world):
    first = world.add_worker(Role.PREFILL, "a", adapters=("style",))
    world.add_worker(Role.DECODE, "b")
    other = replace(first.registration, worker_id="c", adapters={"style": "another"})
    world.feed(WorkerAttached(99, other))
    assert "adapter style: another != digest" in world.refused[0].error.message
    world.feed(WorkerAttached(100, replace(other, worker_id="d", adapters={"style": "digest", "tone": "t"})))
    assert len(world.refused) == 1
