"""Quotas of one gateway without a store, on a virtual clock."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from services.common.clock import ManualClock
from services.common.errors import QuotaExceeded, RequestOverQuota
from services.gateway.accounts.quota import OverLimit, Quotas, Reservation
from services.gateway.accounts.quota.accounts import Accounts
from services.gateway.accounts.quota.headers import duration
from services.gateway.accounts.quota.metrics import QuotaMetrics
from services.gateway.tenants import ANONYMOUS, Caller, TenantQuota


def quotas_of(clock: ManualClock, share: float = 1.0) -> Quotas:
    return Quotas(Accounts(share), QuotaMetrics(CollectorRegistry()), clock)


def caller_of(**limits: int) -> Caller:
    return Caller(tenant="acme", quota=TenantQuota(**limits))


def test_a_caller_without_limits_is_never_refused_and_gets_no_headers() -> None:
    quotas = quotas_of(ManualClock())
    reservation = quotas.reserve(ANONYMOUS, 10**9)
    assert reservation.headers == ()
    reservation.settle(10**9)


def test_tokens_are_refused_when_spent_and_come_back_with_time() -> None:
    clock = ManualClock()
    quotas, caller = quotas_of(clock), caller_of(tokens_per_minute=600)
    quotas.reserve(caller, 500)
    with pytest.raises(QuotaExceeded) as refused:
        quotas.reserve(caller, 150)
    assert refused.value.retry_after_ms == 5_000  # 50 tokens missing, 10 a second
    clock.advance(4_999)
    with pytest.raises(QuotaExceeded):
        quotas.reserve(caller, 150)
    clock.advance(1)
    quotas.reserve(caller, 150)


def test_requests_are_limited_beside_tokens() -> None:
    clock = ManualClock()
    quotas, caller = quotas_of(clock), caller_of(tokens_per_minute=6_000, requests_per_minute=2)
    quotas.reserve(caller, 1)
    quotas.reserve(caller, 1)
    with pytest.raises(QuotaExceeded, match="2 requests a minute") as refused:
        quotas.reserve(caller, 1)
    assert refused.value.retry_after_ms == 30_000


def test_requests_in_flight_are_limited_until_one_is_settled() -> None:
    quotas, caller = quotas_of(ManualClock()), caller_of(concurrent=2)
    first = quotas.reserve(caller, 1)
    quotas.reserve(caller, 1)
    with pytest.raises(QuotaExceeded, match="in flight") as refused:
        quotas.reserve(caller, 1)
    assert refused.value.retry_after_ms
    first.settle(1)
    first.settle(1)
    quotas.reserve(caller, 1)
    with pytest.raises(QuotaExceeded):
        quotas.reserve(caller, 1)


def test_what_was_not_used_comes_back_once() -> None:
    quotas, caller = quotas_of(ManualClock()), caller_of(tokens_per_minute=1_000)
    reservation = quotas.reserve(caller, 1_000)
    reservation.settle(400)
    reservation.settle(0)
    quotas.reserve(caller, 600)
    with pytest.raises(QuotaExceeded):
        quotas.reserve(caller, 1)


def test_a_request_counts_however_it_ends_and_gives_back_its_tokens() -> None:
    quotas = quotas_of(ManualClock())
    caller = caller_of(tokens_per_minute=1_000, requests_per_minute=2, concurrent=1)
    quotas.reserve(caller, 1_000).settle(0)
    quotas.reserve(caller, 1_000).settle(0)
    with pytest.raises(QuotaExceeded, match="2 requests a minute"):
        quotas.reserve(caller, 1)


def test_more_than_was_reserved_is_a_debt() -> None:
    clock = ManualClock()
    quotas, caller = quotas_of(clock), caller_of(tokens_per_minute=600)
    quotas.reserve(caller, 600).settle(700)
    clock.advance(10_000)
    with pytest.raises(QuotaExceeded):
        quotas.reserve(caller, 1)
    clock.advance(1_000)
    quotas.reserve(caller, 1)


def test_a_request_that_never_fits_is_told_so_at_once() -> None:
    quotas, caller = quotas_of(ManualClock()), caller_of(tokens_per_minute=1_000)
    with pytest.raises(RequestOverQuota, match=r"1001 tokens.*1000 tokens a minute") as refused:
        quotas.reserve(caller, 1_001)
    assert (refused.value.http_status, refused.value.field) == (400, "max_tokens")
    assert refused.value.retry_after_ms is None


def test_headers_move_and_name_the_time_until_all_is_there_again() -> None:
    clock = ManualClock()
    quotas, caller = quotas_of(clock), caller_of(tokens_per_minute=6_000, requests_per_minute=60)
    reservation = quotas.reserve(caller, 1_500)
    assert dict(reservation.headers) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "4500",
        "x-ratelimit-reset-tokens": "15s",
    }
    clock.advance(5_000)
    assert dict(reservation.headers)["x-ratelimit-remaining-tokens"] == "5000"
    reservation.settle(500)
    assert dict(reservation.headers)["x-ratelimit-remaining-tokens"] == "6000"


def test_a_refusal_has_the_headers_too() -> None:
    quotas, caller = quotas_of(ManualClock()), caller_of(tokens_per_minute=1_000)
    quotas.reserve(caller, 900)
    with pytest.raises(OverLimit) as refused:
        quotas.reserve(caller, 200)
    assert ("x-ratelimit-remaining-tokens", "100") in refused.value.headers


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [(0, "0ms"), (120, "120ms"), (999.2, "1s"), (1_500, "1.5s"), (60_000, "1m0s"), (361_250, "6m1.25s")],
)
def test_durations_are_written_as_openai_writes_them(time_ms: float, text: str) -> None:
    assert duration(time_ms) == text


def test_a_changed_quota_counts_from_the_next_request_on() -> None:
    quotas = quotas_of(ManualClock())
    old = quotas.reserve(caller_of(tokens_per_minute=1_000), 1_000)
    quotas.reserve(caller_of(tokens_per_minute=2_000), 1_500)
    old.settle(0)
    with pytest.raises(QuotaExceeded):
        quotas.reserve(caller_of(tokens_per_minute=2_000), 1_000)


def test_a_share_takes_a_request_above_it_when_it_is_whole() -> None:
    clock = ManualClock()
    quotas, caller = quotas_of(clock, share=0.25), caller_of(tokens_per_minute=4_000)
    quotas.reserve(caller, 3_000)
    clock.advance(60_000)  # pays 1000 of the 2000 that it owes
    with pytest.raises(QuotaExceeded):
        quotas.reserve(caller, 1)
    clock.advance(120_000)
    quotas.reserve(caller, 3_000)


STEPS = st.one_of(
    st.tuples(st.just("reserve"), st.integers(1, 700)),
    st.tuples(st.just("settle"), st.integers(0, 700)),
    st.tuples(st.just("advance"), st.integers(0, 20_000)),
)


@given(st.lists(STEPS, max_size=60))
def test_what_is_let_in_never_passes_the_limit(steps: list[tuple[str, int]]) -> None:
    """And headers tell the truth: they only fall by reservations, and never leave 0 to the limit."""
    clock = ManualClock()
    quotas, caller = quotas_of(clock), caller_of(tokens_per_minute=600, concurrent=4)
    running: list[tuple[Reservation, int]] = []
    counted, remaining = 0, 600
    for step, number in steps:
        if step == "advance":
            clock.advance(number)
            remaining = 600
        elif step == "settle" and running:
            reservation, reserved = running.pop(0)
            used = min(number, reserved)
            reservation.settle(used)
            counted -= reserved - used
            remaining = 600
        elif step == "reserve":
            try:
                reservation = quotas.reserve(caller, number)
            except (QuotaExceeded, RequestOverQuota):
                continue
            assert isinstance(reservation, Reservation)
            running.append((reservation, number))
            counted += number
            told = int(dict(reservation.headers)["x-ratelimit-remaining-tokens"])
            assert 0 <= told < remaining
            remaining = told
        assert counted <= 600 * (1 + clock.now_ms() / 60_000) + 1e-6
        assert len(running) <= 4


@given(st.integers(1, 600), st.integers(1, 600), st.integers(0, 30_000))
@example(400, 444, 19_904)  # what is added in two steps is less than in one, in the last digit
def test_a_refusal_names_the_time_after_which_the_request_fits(
    first: int, second: int, later_ms: int
) -> None:
    clock = ManualClock()
    quotas, caller = quotas_of(clock), caller_of(tokens_per_minute=600)
    quotas.reserve(caller, first)
    clock.advance(later_ms)
    try:
        quotas.reserve(caller, second)
        return
    except QuotaExceeded as refusal:
        wait_ms = refusal.retry_after_ms
    assert wait_ms is not None
    clock.advance(wait_ms - 1)
    with pytest.raises(QuotaExceeded):
        quotas.reserve(caller, second)
    clock.advance(1)
    quotas.reserve(caller, second)
