"""What is reserved for an answer follows what answers take."""

from dataclasses import replace

import pytest

from services.common.domain import Receipt, Request, Role, Sampling
from services.common.domain.tokens import tokens
from services.router.core.admission import Ask, ProjectedMemory
from services.router.core.expected_output import ExpectedOutput
from services.router.core.flight import Flight
from tests.sim.world import CONFIG, Caller, World

LEAST, MOST = 8, 60
LONG, ENDLESS = 40, 400
MANY = 100


def learnt(*answers: int, is_whole: bool = True) -> ExpectedOutput:
    expected = ExpectedOutput(LEAST, MOST)
    for _ in range(MANY):
        for answer in answers:
            expected.learn(answer, is_whole=is_whole)
    return expected


def test_it_begins_with_what_is_configured_and_follows_the_mean():
    assert ExpectedOutput(LEAST, MOST).tokens == LEAST
    assert learnt(LONG).tokens == pytest.approx(LONG, abs=1)
    assert learnt(10, LONG).tokens == pytest.approx(25, abs=3)


def test_it_stays_within_its_bounds_whatever_answers_take():
    assert learnt(1).tokens == LEAST
    assert learnt(ENDLESS).tokens == MOST
    assert ExpectedOutput(100, MOST).tokens == 100, "configured for more than the usual bound"


def test_it_comes_down_again():
    expected = learnt(LONG)
    for _ in range(MANY):
        expected.learn(2, is_whole=True)
    assert expected.tokens == LEAST


def test_answers_cut_short_say_only_that_they_were_longer():
    assert learnt(LONG, is_whole=False).tokens == pytest.approx(LONG, abs=1)
    expected = learnt(LONG)
    before = expected.tokens
    for _ in range(MANY):
        expected.learn(2, is_whole=False)
    assert expected.tokens == before


@pytest.fixture
def world() -> World:
    config = replace(
        CONFIG, expected_output_tokens=LEAST, expected_output_tokens_max=MOST, canary_interval_ms=0
    )
    world = World(0, config)
    world.add_worker(Role.DECODE)
    return world


def expected_of(world: World) -> int:
    return world.core.state.fleet.pools["m"].expected_output.tokens


def begin(world: World, gateway: int, max_tokens: int) -> Caller:
    """A request whose answer has LONG tokens and more to come."""
    caller = world.submit(gateway, 10, max_tokens)
    while len(caller.got) < LONG and not caller.outcomes:
        world.run(world.now_ms + 5.0)
    return caller


def test_answers_that_end_at_their_limit_teach_the_next_reservation(world):
    gateway = world.add_gateway()
    for _ in range(MANY):
        begin(world, gateway, LONG)
        world.run(world.now_ms + 50.0)
    assert expected_of(world) == pytest.approx(LONG, abs=1)
    caller = world.submit(gateway, 10, ENDLESS)
    world.run(world.now_ms + 20.0)
    flight = next(iter(world.core.state.flights.values()))
    assert flight.request is caller.request
    assert flight.decode_seat.blocks == flight.decode_seat.worker.blocks_for(10 + expected_of(world))
    short = Flight(
        1, 1, Request("r", "m", tokens([1]), Sampling(3)), flight.pool, Receipt("r"), tokens(), 0.0
    )
    assert short.growth_tokens == 3, "one that may have less never reserves more"


def test_answers_whose_clients_leave_or_never_read_teach_too(world):
    gateway = world.add_gateway()
    for _ in range(30):
        world.cancel(begin(world, gateway, ENDLESS))
        world.run(world.now_ms + 50.0)
    assert expected_of(world) > 2 * LEAST


def test_admission_counts_each_waiting_answer_at_its_own_length(world):
    """One caller without a limit does not make short answers before it long."""
    pool = world.core.state.fleet.pools["m"]
    for _ in range(MANY):
        pool.expected_output.learn(MOST, is_whole=True)
    pool.freed_blocks.count(0.0, 1.0)
    check = ProjectedMemory(CONFIG)

    def is_refused(waiting: int, max_tokens: int) -> bool:
        for i in range(waiting):
            request = Request("r", "m", tokens([1]), Sampling(max_tokens))
            pool.decode_queue.append(Flight(1, i, request, pool, Receipt("r"), tokens(), 0.0))
        asking = Request("r", "m", tokens([1]), Sampling(ENDLESS))
        refusal = check.refusal(Ask(asking, pool, pool.decode_queue, 0.0))
        for flight in list(pool.decode_queue):
            pool.decode_queue.remove(flight)
        assert pool.decode_queue.growth_tokens == 0
        return refusal is not None

    room_tokens = int(pool.decode_blocks * pool.block_size_tokens * (1 + CONFIG.unmeasured_overcommit))
    waiting = room_tokens // 10
    assert not is_refused(waiting, 1)
    assert is_refused(waiting, ENDLESS)
