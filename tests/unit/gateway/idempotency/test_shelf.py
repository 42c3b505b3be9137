"""The shelf: times to live and bounds."""

import dataclasses

import pytest

from services.common.clock import ManualClock
from services.common.limits import DEFAULTS
from services.gateway.idempotency.held import Held
from services.gateway.idempotency.shelf import Shelf
from services.gateway.idempotency.tape import State, Tape

LIMITS = dataclasses.replace(
    DEFAULTS, idempotency_ttl_ms=300, idempotency_kept_bytes_max=100, idempotency_keys_max=5
)


class Case:
    """A shelf with answers of our making."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.shelf = Shelf(LIMITS, self.clock)
        self.dropped: list[str] = []
        self.shelf.on_dropped = lambda held: self.dropped.append(held.name)

    def add(self, name: str, size_bytes: int, *, is_finished: bool = True, tenant: str = "") -> Held:
        held = Held(name, "digest", "run", Tape(1_000), tenant)
        self.shelf.add(held)
        if is_finished:
            held.tape.end(b"x" * size_bytes, State.WHOLE)
            self.shelf.keep(held)
        else:
            held.tape.append(b"x" * size_bytes)
        return held


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_finished_answer_is_found_until_its_time_is_over(case: Case) -> None:
    first = case.add("first", 10)
    case.clock.advance(200)
    second = case.add("second", 10)
    case.clock.advance(99)
    assert case.shelf.find("first") is first
    case.clock.advance(1)
    assert case.shelf.find("first") is None
    assert case.shelf.find("second") is second
    assert case.dropped == ["first"]
    assert case.shelf.held_bytes == 10


def test_a_running_answer_does_not_expire(case: Case) -> None:
    held = case.add("long", 10, is_finished=False)
    case.clock.advance(10_000)
    assert case.shelf.find("long") is held


def test_the_oldest_finished_make_room(case: Case) -> None:
    for number in range(5):
        case.add(str(number), 30)
    assert case.dropped == ["0", "1"]
    assert case.shelf.held_bytes == 90
    for number in range(5, 12):
        case.add(str(number), 1)
    assert case.shelf.count == LIMITS.idempotency_keys_max


def test_one_tenants_answers_do_not_push_out_anothers(case: Case) -> None:
    case.add("mine", 30, tenant="innocent")
    for number in range(9):
        case.add(f"flood-{number}", 30, tenant="greedy")
    assert case.shelf.find("mine")
    assert case.shelf.held_bytes <= LIMITS.idempotency_kept_bytes_max


def test_one_tenants_many_keys_do_not_push_out_anothers(case: Case) -> None:
    case.add("mine", 1, tenant="innocent")
    for number in range(50):
        case.add(f"flood-{number}", 1, tenant="greedy")
    assert case.shelf.find("mine")
    assert case.shelf.count == LIMITS.idempotency_keys_max


def test_one_tenants_running_answers_do_not_push_out_anothers(case: Case) -> None:
    case.add("mine", 30, tenant="innocent")
    for number in range(20):
        case.add(f"flood-{number}", 30, is_finished=False, tenant="greedy")
        case.shelf.make_room()
    assert case.shelf.find("mine")
    assert case.shelf.held_bytes <= LIMITS.idempotency_kept_bytes_max


def test_many_tenants_push_out_no_more_than_what_one_has_above_its_share(case: Case) -> None:
    for number in range(3):
        case.add(f"mine-{number}", 30, tenant="innocent")
    for number in range(4):
        case.add(f"flood-{number}", 20, tenant=f"greedy-{number}")
    assert case.dropped == ["mine-0", "mine-1", "mine-2"]
    assert case.shelf.count == 4


def test_a_tenant_alone_has_all_the_room(case: Case) -> None:
    for number in range(3):
        case.add(str(number), 33, tenant="only")
    assert case.dropped == []


def test_where_only_running_ones_are_left_the_largest_is_not_kept(case: Case) -> None:
    case.add("done", 10)
    small = case.add("small", 20, is_finished=False)
    large = case.add("large", 90, is_finished=False)
    case.shelf.make_room()
    assert case.dropped == ["done"]
    assert small.tape.is_kept
    assert not large.tape.is_kept
    assert case.shelf.held_bytes == 20
    assert case.shelf.find("large") is large


def test_removing_gives_its_room_back(case: Case) -> None:
    held = case.add("a", 60)
    running = case.add("b", 30, is_finished=False)
    case.shelf.remove(held)
    case.shelf.remove(held)
    case.shelf.remove(running)
    assert case.shelf.held_bytes == case.shelf.count == 0
    assert case.dropped == []
