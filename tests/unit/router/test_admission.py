"""Each objection of admission, alone."""

from random import Random

import pytest

from services.common.domain import Capacity, Fingerprint, Receipt, Registration, Request, Role, Sampling
from services.common.domain import ServiceClass as Class
from services.common.domain.tokens import tokens
from services.common.errors import DeadlineUnmeetable, KvMemoryFull, QueueFull, Shed
from services.common.limits import Limits
from services.router.core.admission import Admission, Ask, DeadlineFeasible, ProjectedMemory, Shedding
from services.router.core.config import CoreConfig
from services.router.core.fleet import Fleet, Pool, Seat, Worker
from services.router.core.flight import Flight

CONFIG = CoreConfig(limits=Limits(queue_requests_max=100, queue_wait_ms_max=1_000))
NOW_MS = 60_000.0


@pytest.fixture
def pool() -> Pool:
    capacity = Capacity(100, 1_000, 64, 512, 10_000)
    fingerprint = Fingerprint("m", "d", "f32", "f32", 16, 1, "sim", "1", "sim")
    worker = Worker(1, Registration("d", Role.DECODE, fingerprint, capacity), 0.0)
    return Fleet(CONFIG).attach(worker)


def request(prompt_tokens: int = 16, **more) -> Request:
    return Request("r", "m", tokens([1] * prompt_tokens), Sampling(max_tokens=16), **more)


def ask(pool: Pool, **more) -> Ask:
    return Ask(request(**more), pool, pool.decode_queue, NOW_MS)


def fill(pool: Pool, number: int) -> None:
    for i in range(number):
        pool.decode_queue.append(Flight(1, i, request(), pool, Receipt("r"), tokens(), NOW_MS))


def test_memory_is_projected_to_the_end_of_all_that_is_accepted(pool):
    check = ProjectedMemory(CONFIG)
    seat = Seat(pool.workers[1], 90)
    assert check.refusal(ask(pool)) is None
    for at_ms in range(50_000, 60_000, 1_000):
        pool.freed_blocks.count(at_ms, 1.0)
    fill(pool, 4)
    assert check.refusal(ask(pool)) is None
    fill(pool, 5)
    refusal = check.refusal(ask(pool))
    assert isinstance(refusal, KvMemoryFull)
    assert refusal.retry_after_ms >= CONFIG.limits.queue_wait_ms_max
    seat.leave()
    assert check.refusal(ask(pool)) is None


def test_before_anything_is_measured_a_multiple_of_the_fleet_is_accepted(pool):
    check = ProjectedMemory(CONFIG)
    fill(pool, 240)
    assert check.refusal(ask(pool)) is None
    fill(pool, 20)
    refusal = check.refusal(ask(pool))
    assert isinstance(refusal, KvMemoryFull)
    assert "KV blocks more are asked for than the" in refusal.message
    assert "inf" not in refusal.message


def test_a_pool_without_workers_waits_for_them(pool):
    Fleet(CONFIG)
    pool.decode_blocks = 0
    assert ProjectedMemory(CONFIG).refusal(ask(pool, prompt_tokens=9_000)) is None


def test_a_deadline_is_held_against_the_measured_rate(pool):
    check = DeadlineFeasible()
    fill(pool, 9)
    assert check.refusal(ask(pool, deadline_ms=10)) is None
    for at_ms in range(0, 60_000, 100):
        pool.placements.count(at_ms)
    pool.first_token_ms.add(300.0)
    assert check.refusal(ask(pool)) is None
    assert check.refusal(ask(pool, deadline_ms=1_600)) is None
    assert isinstance(check.refusal(ask(pool, deadline_ms=1_000)), DeadlineUnmeetable)


def test_shedding_starts_with_the_lowest_class_and_ends_certain(pool):
    check = Shedding(Random(0))

    def shed(service_class: Class) -> float:
        asked = [check.refusal(ask(pool, service_class=service_class)) for _ in range(400)]
        assert all(a is None or isinstance(a, Shed) for a in asked)
        return sum(a is not None for a in asked) / len(asked)

    fill(pool, 80)
    assert [shed(c) for c in Class] == [0.0, 0.0, 0.0]
    fill(pool, 10)
    interactive, standard, batch = (shed(c) for c in Class)
    assert interactive == 0.0
    assert 0.15 < standard < 0.32
    assert 0.4 < batch < 0.6
    fill(pool, 10)
    assert [shed(c) for c in Class] == [1.0, 1.0, 1.0]


def test_what_was_admitted_once_meets_only_the_hard_bound(pool):
    admission = Admission(CONFIG, Random(0))
    fill(pool, 99)
    again = ask(pool, delivered=tokens([1]), service_class=Class.BATCH)
    assert admission.refusal(again) is None
    fill(pool, 1)
    assert isinstance(admission.refusal(again), QueueFull)
