"""A collection that cannot be had is left alone for a while, and no other is."""

from services.common.clock import ManualClock
from services.gateway.retrieval.suspensions import COLLECTIONS_MAX, FAILURES_MAX, SUSPENDED_MS, Suspensions

MANUALS = "acme", "manuals"
OTHERS = ("acme", "recipes"), ("globex", "manuals"), ("globex", "")


def failing(clock: ManualClock) -> Suspensions:
    suspensions = Suspensions(clock)
    for _ in range(FAILURES_MAX):
        assert not suspensions.has(MANUALS)
        suspensions.note_failure(MANUALS)
    return suspensions


def test_it_is_left_alone_after_failures_in_a_row_and_nothing_else_is() -> None:
    suspensions = failing(ManualClock())
    assert suspensions.has(MANUALS)
    assert [suspensions.has(other) for other in OTHERS] == [False, False, False]


def test_after_a_while_it_is_tried_again_and_one_failure_is_enough() -> None:
    clock = ManualClock()
    suspensions = failing(clock)
    clock.advance(SUSPENDED_MS)
    assert not suspensions.has(MANUALS)
    suspensions.note_failure(MANUALS)
    assert suspensions.has(MANUALS)


def test_an_answer_begins_the_count_anew() -> None:
    suspensions = Suspensions(ManualClock())
    for _ in range(2 * FAILURES_MAX):
        suspensions.note_failure(MANUALS)
        suspensions.note_answer(MANUALS)
    assert not suspensions.has(MANUALS)


def test_there_is_a_bound() -> None:
    suspensions = failing(ManualClock())
    for number in range(COLLECTIONS_MAX):
        suspensions.note_failure(("acme", str(number)))
    assert not suspensions.has(MANUALS)
    assert len(suspensions._troubles) == COLLECTIONS_MAX
