"""What a request may demand of its tokens and of its turn."""

from dataclasses import replace

import pytest

from services.common.domain import Role, Sampling, ServiceClass, Structured, StructuredKind
from services.common.errors import InvalidField
from services.common.limits import DEFAULTS
from services.router.core.demands import excess
from services.router.core.events import Submitted
from services.router.core.models import served_models
from services.router.core.placing import engine_priority
from tests.sim.world import CONFIG, World


@pytest.fixture
def world() -> World:
    return World(0, replace(CONFIG, stall_timeout_ms=60_000, canary_interval_ms=0))


@pytest.mark.parametrize(
    ("field", "sampling", "priority"),
    [
        ("logprobs", Sampling(5, logprobs=21), 0),
        ("bad_words", Sampling(5, bad_words=((1,),) * 129), 0),
        ("structured_outputs", Sampling(5, structured=Structured(StructuredKind.REGEX, "a" * 65_537)), 0),
        ("priority", Sampling(5), -1_001),
        ("priority", Sampling(5), 1_001),
    ],
)
def test_demands_beyond_their_bound_are_refused_by_name(
    world: World, field: str, sampling: Sampling, priority: int
) -> None:
    world.add_worker(Role.DECODE)
    caller = world.submit(world.add_gateway(), 10, 5)
    request = replace(caller.request, sampling=sampling, priority=priority)
    [end] = world.core.on_event(Submitted(caller.session, 99, request), world.now_ms)
    assert isinstance(end.error, InvalidField)
    assert end.error.field == field


def test_demands_at_their_bound_are_met() -> None:
    world = World(0)
    full = Sampling(
        5,
        logprobs=20,
        bad_words=((1,),) * 128,
        structured=Structured(StructuredKind.REGEX, "a" * 65_536),
    )
    request = replace(world.submit(world.add_gateway(), 10, 5).request, sampling=full, priority=-1_000)
    assert excess(request, DEFAULTS) is None


def test_priority_orders_within_a_class_and_never_across(world):
    request = world.submit(world.add_gateway(), 10, 5).request
    ranks = [
        engine_priority(replace(request, service_class=service_class, priority=priority))
        for service_class in ServiceClass
        for priority in (-DEFAULTS.priority_max, -1, 0, 1, DEFAULTS.priority_max)
    ]
    assert ranks == sorted(set(ranks))


def test_a_tenants_urgent_request_overtakes_its_others(world):
    world.add_worker(Role.DECODE, max_running_requests=1)
    gateway = world.add_gateway()
    world.submit(gateway, 10, 5)
    order = [world.submit(gateway, 10, 5, priority=priority) for priority in (0, 5, -5)]
    world.run(60_000.0)
    waits = [caller.outcomes[0].receipt.queue_ms for caller in order]
    assert waits[2] < waits[0] < waits[1]


def test_a_budget_of_reasoning_needs_workers_that_all_keep_one(world: World) -> None:
    world.add_worker(Role.PREFILL, limits_thinking=True)
    first = world.add_worker(Role.DECODE, "first")
    gateway = world.add_gateway()
    [end] = world.submit(gateway, 100, 5, thinking_tokens_max=9).outcomes
    assert isinstance(end.error, InvalidField)
    assert end.error.field == "thinking_token_budget"
    assert not world.submit(gateway, 100, 5).outcomes
    first.die()
    world.add_worker(Role.DECODE, "second", limits_thinking=True)
    assert not world.submit(gateway, 100, 5, thinking_tokens_max=9).outcomes
    [model] = served_models(world.core.state)
    assert model.limits_thinking
