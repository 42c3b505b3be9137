"""What a gateway learns of a request that ends before its first token: whether a worker had its prompt."""

from dataclasses import replace

import pytest

from services.common.domain import EmbeddingAsk, EmbeddingModel, FinishReason, Role
from tests.sim.invariants import check
from tests.sim.world import CONFIG, World


@pytest.fixture
def world() -> World:
    """Without canaries: a new pair's would run first, and the request wait for it."""
    return World(0, replace(CONFIG, canary_interval_ms=0))


def test_a_request_that_leaves_the_queue_was_not_placed(world: World) -> None:
    world.add_worker(Role.BOTH, max_running_requests=1)
    gateway = world.add_gateway()
    world.submit(gateway, 100, 50)
    world.run(5.0)
    waiting = world.submit(gateway, 100, 50)
    world.run(world.now_ms + 5.0)
    world.cancel(waiting)
    world.run(60_000.0)
    check(world)
    assert (waiting.placed, waiting.outcomes[0].reason) == (0, FinishReason.CANCELLED)


def test_a_request_that_leaves_in_its_prefill_was_placed(world: World) -> None:
    world.add_worker(Role.PREFILL)
    world.add_worker(Role.DECODE)
    caller = world.submit(world.add_gateway(), 900, 5)
    world.run(10.0)
    world.cancel(caller)
    world.run(60_000.0)
    check(world)
    assert (caller.placed, caller.got) == (1, [])


def test_a_request_that_waits_again_after_its_worker_died_was_placed(world: World) -> None:
    worker = world.add_worker(Role.BOTH)
    caller = world.submit(world.add_gateway(), 900, 5)
    world.run(10.0)
    worker.die()
    world.run(50.0)
    world.cancel(caller)
    world.run(60_000.0)
    assert (caller.placed, caller.got) == (1, [])


def test_a_vector_whose_caller_goes_was_placed(world: World) -> None:
    world.add_worker(Role.PREFILL, embedding_model=EmbeddingModel(2))
    caller = world.submit(world.add_gateway(), 1_000, 1, embedding=EmbeddingAsk(0))
    world.run(10.0)
    world.cancel(caller)
    world.run(60_000.0)
    assert (caller.placed, caller.outcomes[0].reason) == (1, FinishReason.CANCELLED)
