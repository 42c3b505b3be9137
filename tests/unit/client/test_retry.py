"""When the client tries again."""

import random

import pytest

from pdmesh.client import RetryPolicy, Unreachable
from pdmesh.client.retry import JITTER, Retrier, RetryBudget, calls_for_another_gateway
from services.common.clock import ManualClock
from services.common.errors import (
    DeadlinePassed,
    InvalidField,
    MeshError,
    NotResumable,
    QueueFull,
    QuotaExceeded,
    RouterUnavailable,
)


def retrier(timeout_s: float | None = None, clock: ManualClock | None = None, **policy: float) -> Retrier:
    made = RetryPolicy(**policy)  # type: ignore[arg-type]
    return Retrier(made, RetryBudget(made), clock or ManualClock(), random.Random(1), timeout_s)


def test_a_named_wait_is_never_cut_short() -> None:
    trying = retrier(attempts_max=8)
    for _ in range(7):
        assert 2_000 <= trying.wait_ms(QuotaExceeded(retry_after_ms=2_000)) <= 2_000 * (1 + JITTER)


def test_without_a_named_wait_pauses_double_up_to_a_bound() -> None:
    trying = retrier(attempts_max=10, backoff_ms=100, backoff_ms_max=500)
    pauses = [trying.wait_ms(Unreachable()) for _ in range(5)]
    for pause, most in zip(pauses, (100, 200, 400, 500, 500), strict=True):
        assert most / 2 <= pause <= most


def test_two_clients_do_not_come_back_together() -> None:
    policy = RetryPolicy()
    pauses = {
        Retrier(policy, RetryBudget(policy), ManualClock(), random.Random(seed), None).wait_ms(QueueFull())
        for seed in range(10)
    }
    assert len(pauses) == 10


@pytest.mark.parametrize("error", [InvalidField("temperature"), NotResumable(), DeadlinePassed()])
def test_what_cannot_get_better_is_not_tried_again(error: MeshError) -> None:
    with pytest.raises(type(error)):
        retrier().wait_ms(error)


def test_attempts_are_counted_since_the_last_token() -> None:
    trying = retrier(attempts_max=3)
    trying.wait_ms(Unreachable())
    trying.wait_ms(Unreachable())
    trying.progressed()
    trying.wait_ms(Unreachable())
    trying.wait_ms(Unreachable())
    with pytest.raises(Unreachable):
        trying.wait_ms(Unreachable())


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    clock = ManualClock()
    trying = retrier(timeout_s=1.0, clock=clock)
    assert trying.time_left_s() == 1.0
    with pytest.raises(QueueFull):
        trying.wait_ms(QueueFull(retry_after_ms=1_000))
    clock.advance(1_000)
    with pytest.raises(DeadlinePassed):
        trying.time_left_s()


def test_more_patience_than_the_caller_has_is_a_refusal() -> None:
    with pytest.raises(QuotaExceeded):
        retrier(retry_after_ms_max=500).wait_ms(QuotaExceeded(retry_after_ms=501))


def test_all_calls_share_one_budget_that_answers_refill() -> None:
    policy = RetryPolicy(budget_max=2.0, budget_per_success=0.5)
    budget = RetryBudget(policy)

    def call() -> Retrier:
        return Retrier(policy, budget, ManualClock(), random.Random(1), None)

    call().wait_ms(Unreachable())
    call().wait_ms(Unreachable())
    with pytest.raises(Unreachable):
        call().wait_ms(Unreachable())
    call().succeeded()
    call().succeeded()
    call().wait_ms(Unreachable())
    with pytest.raises(Unreachable):
        call().wait_ms(Unreachable())


def test_only_a_gateway_that_cannot_serve_is_left() -> None:
    assert calls_for_another_gateway(Unreachable())
    assert calls_for_another_gateway(RouterUnavailable())
    assert not calls_for_another_gateway(QuotaExceeded())
