"""What a receipt says of the prompt that was found cached: never more than the prompt, on every path."""

import pytest

from services.common.domain import (
    EmbeddingAsk,
    EmbeddingModel,
    HandoffOffered,
    JobFinished,
    Path,
    Role,
)
from services.common.domain.tokens import tokens
from services.router.core.events import WorkerStep
from tests.sim.invariants import check
from tests.sim.world import Caller, World

SHORT, LONG = 12, 100


class Caching(World):
    """Every run of a text finds `cached` tokens of it in its worker's cache."""

    cached = 0

    def feed(self, event: object) -> None:
        if isinstance(event, WorkerStep):
            parts: list[HandoffOffered | JobFinished] = [*event.step.offered, *event.step.finished]
            for part in parts:
                object.__setattr__(part, "cached_tokens", self.cached)
        super().feed(event)


@pytest.fixture
def world() -> Caching:
    return Caching(0)


def cached_of(world: Caching, caller: Caller) -> int:
    world.run_to_rest(60_000)
    check(world)
    return int(caller.outcomes[0].receipt.cached_tokens)


@pytest.mark.parametrize(("prompt_tokens", "max_tokens"), [(SHORT, 1), (SHORT, 20), (LONG, 1), (LONG, 20)])
def test_a_prompt_s_cached_tokens_are_told_wherever_its_answer_ends(
    world: Caching, prompt_tokens: int, max_tokens: int
) -> None:
    world.add_worker(Role.PREFILL)
    world.add_worker(Role.DECODE)
    world.cached = 8
    caller = world.submit(world.add_gateway(), prompt_tokens, max_tokens)
    assert cached_of(world, caller) == 8
    assert caller.outcomes[0].receipt.path is (Path.LOCAL if prompt_tokens == SHORT else Path.DISAGGREGATED)


def test_a_vector_s_prompt_counts_too(world: Caching) -> None:
    world.add_worker(Role.PREFILL, embedding_model=EmbeddingModel(2, False, ()))
    world.cached = 8
    assert cached_of(world, world.submit(world.add_gateway(), SHORT, 1, embedding=EmbeddingAsk())) == 8


@pytest.mark.parametrize("prompt_tokens", [SHORT, LONG])
def test_an_answer_that_goes_on_elsewhere_has_no_more_cached_than_its_prompt(
    world: Caching, prompt_tokens: int
) -> None:
    """A router was lost in mid-stream: the next one has the prompt run with all that was delivered."""
    world.add_worker(Role.PREFILL)
    world.add_worker(Role.DECODE)
    world.cached = 160
    delivered = tokens(range(1, 150))
    caller = world.submit(
        world.add_gateway(), prompt_tokens, 300, delivered=tokens([0]) if prompt_tokens == LONG else delivered
    )
    world.run_to_rest(60_000)
    assert caller.outcomes[0].receipt.cached_tokens == prompt_tokens


def test_a_worker_s_death_does_not_make_a_prompt_cached(world: Caching) -> None:
    """The second run finds what the first has left; the caller's prompt was computed."""
    world.add_worker(Role.PREFILL)
    workers = [world.add_worker(Role.DECODE, f"d{number}") for number in range(2)]
    caller = world.submit(world.add_gateway(), LONG, 60)
    world.run(world.now_ms + 150.0)
    assert caller.got
    world.cached = 96
    next(worker for worker in workers if worker.jobs).die()
    assert cached_of(world, caller) == 0
    assert caller.outcomes[0].receipt.retries == 1
