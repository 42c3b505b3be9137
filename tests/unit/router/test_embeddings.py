"""Requests for vectors in the core: one worker that prefills, one outcome, and nothing else."""

from dataclasses import replace

import pytest

from services.common.domain import EmbeddingAsk, EmbeddingModel, FinishReason, Role
from services.common.errors import InvalidField, NoWorkers, PromptTooLong
from services.router.core.models import served_models
from tests.sim.invariants import check
from tests.sim.world import CONFIG, Caller, World

MODEL = EmbeddingModel(2, may_cut=True, cuts=(1,))


@pytest.fixture
def world() -> World:
    return World(0, replace(CONFIG, canary_interval_ms=500))


def submit(world: World, gateway: int, prompt_tokens: int = 100, dimensions: int = 0) -> Caller:
    return world.submit(gateway, prompt_tokens, 1, embedding=EmbeddingAsk(dimensions))


def outcome_of(world: World, caller: Caller, at_ms: float = 60_000.0):
    world.run(world.now_ms + at_ms)
    check(world)
    return caller.outcomes[0]


def test_a_vector_comes_from_one_worker_without_decode_or_handoff(world):
    world.add_worker(Role.PREFILL, "p", embedding_model=MODEL)
    caller = submit(world, world.add_gateway(), 1_000)
    end = outcome_of(world, caller)
    assert (end.reason, list(end.vector)) == (FinishReason.STOP, [caller.request.prompt[0], 1_000.0])
    assert (end.receipt.path, end.receipt.prefill_worker, end.receipt.decode_worker) == (None, "p", "")
    assert end.receipt.prefill_ms > 0
    assert (end.receipt.generated_tokens, caller.placed, caller.got) == (0, 0, [])


def test_a_dying_worker_costs_only_time(world):
    first = world.add_worker(Role.PREFILL, "a", embedding_model=MODEL)
    caller = submit(world, world.add_gateway())
    world.run(10.0)
    assert first.jobs
    world.add_worker(Role.PREFILL, "b", embedding_model=MODEL)
    first.die()
    end = outcome_of(world, caller)
    assert list(end.vector) == [caller.request.prompt[0], 100.0]
    assert (end.receipt.prefill_worker, end.receipt.retries) == ("b", 1)


def test_more_than_fit_wait_and_all_are_answered(world):
    world.add_worker(Role.PREFILL, embedding_model=MODEL, max_running_requests=2)
    gateway = world.add_gateway()
    callers = [submit(world, gateway, 10) for _ in range(20)]
    world.run(10.0)
    assert len(world.core.state.fleet.pools["m"].prefill_queue) > 10
    world.run(60_000.0)
    check(world)
    assert [c.outcomes[0].vector[0] for c in callers] == [c.request.prompt[0] for c in callers]


def test_a_caller_that_goes_frees_its_worker(world):
    worker = world.add_worker(Role.PREFILL, embedding_model=MODEL)
    caller = submit(world, world.add_gateway())
    world.run(10.0)
    world.cancel(caller)
    assert outcome_of(world, caller).reason is FinishReason.CANCELLED
    assert not worker.jobs


def test_text_of_a_pooling_model_and_vectors_of_another_are_refused(world):
    world.add_worker(Role.PREFILL, embedding_model=MODEL)
    world.add_worker(Role.BOTH, model="text")
    gateway = world.add_gateway()
    text = world.submit(gateway, 10, 5)
    vector = world.submit(gateway, 10, 1, model="text", embedding=EmbeddingAsk())
    for caller in (text, vector):
        error = caller.outcomes[0].error
        assert (type(error), error.field) == (InvalidField, "model")


@pytest.mark.parametrize(
    ("prompt_tokens", "dimensions", "kind"),
    [(1_001, 0, PromptTooLong), (5, 3, InvalidField), (5, 4, InvalidField)],
)
def test_what_cannot_be_had_is_refused_at_once(world, prompt_tokens, dimensions, kind):
    world.add_worker(Role.PREFILL, embedding_model=MODEL)
    gateway = world.add_gateway()
    refused = submit(world, gateway, prompt_tokens, dimensions)
    assert type(refused.outcomes[0].error) is kind
    assert outcome_of(world, submit(world, gateway, 1_000, 1)).error is None


def test_a_pool_gives_vectors_or_generates(world):
    world.add_worker(Role.PREFILL, "p", embedding_model=MODEL)
    world.add_worker(Role.PREFILL, "text")
    world.add_worker(Role.PREFILL, "other", embedding_model=EmbeddingModel(2))
    world.add_worker(Role.PREFILL, "same", embedding_model=MODEL)
    assert [refused.error.reason for refused in world.refused] == ["registration_refused"] * 2
    assert [info.embedding_model for info in served_models(world.core.state)] == [MODEL]


def test_without_workers_it_waits_for_one_and_not_for_ever(world):
    worker = world.add_worker(Role.PREFILL, embedding_model=MODEL)
    gateway = world.add_gateway()
    worker.die()
    assert served_models(world.core.state) == ()
    lucky = submit(world, gateway)
    world.run(1_000.0)
    assert not lucky.outcomes
    again = world.add_worker(Role.PREFILL, embedding_model=MODEL)
    world.run(2_000.0)
    assert lucky.outcomes[0].vector
    again.die()
    assert isinstance(outcome_of(world, submit(world, gateway)).error, NoWorkers)


def test_nobody_wants_decode_workers_for_it(world):
    world.add_worker(Role.PREFILL, embedding_model=MODEL)
    world.add_worker(Role.BOTH, model="text")
    world.run(2_000.0)
    assert set(world.core.scaling.tiers) == {
        ("m", Role.PREFILL),
        ("text", Role.PREFILL),
        ("text", Role.DECODE),
    }
