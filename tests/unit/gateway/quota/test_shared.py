"""Quotas of several gateways that share one store, on a virtual clock."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from services.common.clock import ManualClock
from services.common.errors import QuotaExceeded, QuotaUnknown, RequestOverQuota
from services.common.store.budgets import Budgets
from services.gateway.accounts.quota import Quotas, Reservation
from services.gateway.accounts.quota.accounts import Accounts
from services.gateway.accounts.quota.metrics import QuotaMetrics
from services.gateway.accounts.quota.reconciler import Reconciler
from services.gateway.tenants import Caller, TenantQuota
from tests.unit.gateway.quota.model_budgets import ModelBudgets

LIMIT = 6_000


class Gateway:
    """One gateway's quotas, whose rounds the test runs."""

    def __init__(
        self, name: str, budgets: ModelBudgets, clock: ManualClock, *, fails_closed: bool = False
    ) -> None:
        metrics, self.accounts = QuotaMetrics(CollectorRegistry()), Accounts(share=None)
        store = cast(Budgets, budgets)
        self.reconciler = Reconciler(name, self.accounts, store, metrics, clock, Random(0))
        self.quotas = Quotas(self.accounts, metrics, clock, self.reconciler, fails_closed=fails_closed)

    async def reserve(self, caller: Caller, tokens: int) -> Reservation:
        """As the pipeline does: borrow where that helps, then reserve."""
        if (waiting := self.quotas.borrow(caller, tokens)) is not None:
            task = asyncio.ensure_future(waiting)
            while not task.done():
                await asyncio.sleep(0)
                if not task.done():
                    await self.reconciler.round()
            task.result()
        reservation = self.quotas.reserve(caller, tokens)
        assert isinstance(reservation, Reservation)
        return reservation


class Mesh:
    """Several gateways and their store."""

    def __init__(self, count: int, *, fails_closed: bool = False) -> None:
        self.clock = ManualClock()
        self.store = ModelBudgets(self.clock)
        self.gateways = [
            Gateway(f"g{i}", self.store, self.clock, fails_closed=fails_closed) for i in range(count)
        ]

    async def rounds(self, count: int = 1) -> None:
        """So many rounds of every gateway, 100 ms apart."""
        for _ in range(count):
            for gateway in self.gateways:
                await gateway.reconciler.round()
            self.clock.advance(100)


def caller_of(**limits: int) -> Caller:
    return Caller(tenant="acme", quota=TenantQuota(**limits))


ACME = caller_of(tokens_per_minute=LIMIT)


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(QuotaExceeded):
        yield


async def test_a_tenants_first_request_asks_the_store_and_later_ones_do_not() -> None:
    mesh = Mesh(1)
    gateway = mesh.gateways[0]
    await gateway.reserve(ACME, 100)
    await mesh.rounds()
    assert gateway.quotas.borrow(ACME, 100) is None
    gateway.quotas.reserve(ACME, 100)


async def test_a_request_as_large_as_the_limit_fits_any_gateway() -> None:
    mesh = Mesh(4)
    await mesh.rounds()
    await mesh.gateways[3].reserve(ACME, LIMIT)
    with refused():
        await mesh.gateways[0].reserve(ACME, 1)


async def test_a_request_above_the_limit_is_refused_without_asking() -> None:
    gateway = Mesh(1).gateways[0]
    assert gateway.quotas.borrow(ACME, LIMIT + 1) is None
    with pytest.raises(RequestOverQuota):
        gateway.quotas.reserve(ACME, LIMIT + 1)


async def test_one_gateway_may_use_all_of_a_limit_that_others_do_not_need() -> None:
    mesh = Mesh(4)
    for gateway in mesh.gateways:
        await gateway.reserve(ACME, 100)
    await mesh.rounds(120)  # by then the others expect nothing and have given back
    for _ in range(10):
        await mesh.gateways[0].reserve(ACME, LIMIT // 10)


async def test_what_one_holds_ready_goes_to_another_that_is_short() -> None:
    mesh, caller = Mesh(2), caller_of(tokens_per_minute=LIMIT, concurrent=8)
    reservations = [await mesh.gateways[0].reserve(caller, LIMIT // 8) for _ in range(4)]
    for reservation in reservations:
        reservation.settle(1)
    with refused():
        await mesh.gateways[1].reserve(caller, LIMIT * 8 // 10)
    await mesh.rounds(9)
    await mesh.gateways[1].reserve(caller, LIMIT * 8 // 10)


async def test_settled_tokens_are_there_for_the_others_after_a_round() -> None:
    mesh = Mesh(2)
    reservation = await mesh.gateways[0].reserve(ACME, LIMIT)
    reservation.settle(0)
    await mesh.rounds(2)
    await mesh.gateways[1].reserve(ACME, LIMIT // 2)


async def test_requests_in_flight_are_counted_across_gateways() -> None:
    mesh, caller = Mesh(2), caller_of(concurrent=3)
    first = await mesh.gateways[0].reserve(caller, 1)
    await mesh.gateways[0].reserve(caller, 1)
    await mesh.gateways[1].reserve(caller, 1)
    with refused():
        await mesh.gateways[1].reserve(caller, 1)
    first.settle(1)
    await mesh.rounds(2)
    await mesh.gateways[1].reserve(caller, 1)


async def test_a_gateway_that_was_stopped_for_long_does_not_spend_what_it_held() -> None:
    mesh = Mesh(2)
    await mesh.gateways[0].reserve(ACME, 500)
    await mesh.rounds()
    mesh.clock.advance(1_600)
    with refused():
        mesh.gateways[0].quotas.reserve(ACME, 500)


async def test_idle_tenants_are_forgotten() -> None:
    mesh = Mesh(1)
    (await mesh.gateways[0].reserve(ACME, 100)).settle(50)
    await mesh.rounds(150)
    assert len(mesh.gateways[0].accounts) == 0


async def test_without_the_store_each_gateway_goes_on_with_its_share_and_pays_back() -> None:
    mesh = Mesh(2)
    for gateway in mesh.gateways:
        await gateway.reserve(ACME, 600)
    await mesh.rounds(2)
    mesh.store.is_away = True
    await mesh.rounds(6)
    for gateway in mesh.gateways:
        assert gateway.quotas.borrow(ACME, 2_000) is None
        gateway.quotas.reserve(ACME, 2_000)
        with refused():
            gateway.quotas.reserve(ACME, 2_000)
    mesh.store.is_away = False
    await mesh.rounds(20)
    with refused():  # 5,200 are used, and 2.8 s have brought 280
        await mesh.gateways[0].reserve(ACME, 1_600)
    await mesh.gateways[0].reserve(ACME, 500)


async def test_a_store_that_has_lost_everything_does_not_give_a_second_burst() -> None:
    mesh = Mesh(2)
    await mesh.gateways[0].reserve(ACME, LIMIT)
    await mesh.rounds()
    mesh.store.is_away = True
    await mesh.rounds(6)
    mesh.store.forget()
    mesh.store.is_away = False
    await mesh.rounds(3)
    with refused():
        await mesh.gateways[0].reserve(ACME, 500)


async def test_a_gateway_that_never_heard_of_the_store_serves_alone() -> None:
    mesh = Mesh(1)
    mesh.store.is_away = True
    await mesh.gateways[0].reserve(ACME, LIMIT)
    with refused():
        await mesh.gateways[0].reserve(ACME, 100)


async def test_configured_to_refuse_it_refuses_limited_tenants_while_the_store_is_away() -> None:
    mesh = Mesh(1, fails_closed=True)
    mesh.store.is_away = True
    with pytest.raises(QuotaUnknown) as refusal:
        await mesh.gateways[0].reserve(ACME, 1)
    assert refusal.value.http_status == 503
    mesh.gateways[0].quotas.reserve(Caller(tenant="free"), 1)
    mesh.store.is_away = False
    await mesh.rounds(2)
    await mesh.gateways[0].reserve(ACME, 1)


async def test_a_state_change_of_the_store_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    mesh = Mesh(1)
    await mesh.rounds(2)
    mesh.store.is_away = True
    await mesh.rounds(30)
    mesh.store.is_away = False
    await mesh.rounds(3)
    told = [record.getMessage() for record in caplog.records]
    assert [text.split(":")[0] for text in told] == ["quotas", "quotas"]
    assert "alone" in told[0]
    assert "answers again" in told[1]


STEPS = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 3), st.integers(1, LIMIT // 2)),
    st.tuples(st.just("settle"), st.integers(0, 100), st.integers(0, LIMIT // 2)),
    st.tuples(st.just("round"), st.integers(0, 3), st.integers(0, 400)),
    st.tuples(st.just("die"), st.integers(0, 3), st.just(0)),
)


@given(st.lists(STEPS, max_size=80))
def test_all_gateways_together_never_pass_the_limit(steps: list[tuple[str, int, int]]) -> None:
    """Whatever the order of requests and rounds, and whichever gateways die or stop for a while."""

    async def play() -> None:
        mesh, caller = Mesh(4), caller_of(tokens_per_minute=LIMIT, concurrent=6)
        await mesh.rounds()
        alive = list(mesh.gateways)
        running: list[tuple[Gateway, Reservation, int]] = []
        counted = 0
        for step, which, number in steps:
            if step == "reserve":
                gateway = alive[which % len(alive)]
                try:
                    running.append((gateway, await gateway.reserve(caller, number), number))
                    counted += number
                except QuotaExceeded:
                    pass
            elif step == "settle" and running:
                gateway, reservation, reserved = running.pop(which % len(running))
                used = min(number, reserved)
                reservation.settle(used)
                counted -= reserved - used
            elif step == "round":
                await alive[which % len(alive)].reconciler.round()
                mesh.clock.advance(number)
            elif step == "die" and len(alive) > 1:
                dead = alive.pop(which % len(alive))
                running = [one for one in running if one[0] is not dead]
            assert counted <= LIMIT * (1 + mesh.clock.now_ms() / 60_000) + 1e-6

    asyncio.run(play())
