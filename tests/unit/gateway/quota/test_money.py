"""Budgets of money: four gateways that share one store, and one alone, on virtual clocks."""

import asyncio
import logging
from random import Random
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from services.common.clock import ManualClock
from services.common.errors import BudgetSpent, QuotaUnknown, RequestOverQuota
from services.common.store.budgets import Budgets
from services.common.store.usage import UsageEntry
from services.gateway.accounts.quota import Quotas, Reservation
from services.gateway.accounts.quota.accounts import Accounts
from services.gateway.accounts.quota.metrics import QuotaMetrics
from services.gateway.accounts.quota.reconciler import Reconciler
from services.gateway.accounts.spending.calendar import Calendar, Period
from services.gateway.tenants import Caller, TenantQuota
from services.gateway.tenants.caller import MoneyBudget
from tests.unit.gateway.quota.model_budgets import ModelBudgets

EVE_S = 1_769_903_990.0
"""Ten seconds before the end of January 2026."""
NOON_S = EVE_S - 43_000.0
LIMIT = 10_000_000


def caller_of(**budget: float) -> Caller:
    return Caller(tenant="acme", quota=TenantQuota(budget=MoneyBudget(**budget)))


ACME = caller_of(day_nano=LIMIT)


class Till:
    """One gateway's quotas, and the uses that it has booked and its ledger has not counted."""

    def __init__(self, name: str, shop: "Shop", share: float | None, *, fails_closed: bool) -> None:
        self.registry = CollectorRegistry()
        metrics = QuotaMetrics(self.registry)
        self.calendar = Calendar(lambda: shop.begins_s + shop.clock.now_ms() / 1000.0)
        self.accounts = Accounts(share, self.calendar)
        store = cast(Budgets, shop.store)
        self.reconciler = Reconciler(name, self.accounts, store, metrics, shop.clock, Random(0))
        self.quotas = Quotas(
            self.accounts,
            metrics,
            shop.clock,
            self.reconciler if share is None else None,
            fails_closed=fails_closed,
        )
        self._shop, self._booked, self._counted = shop, list[UsageEntry](), list[UsageEntry]()
        self._is_asked = False
        self.reconciler.ask = self._ask

    def _ask(self) -> None:
        self._is_asked = True

    async def reserve(self, caller: Caller, cost: int) -> Reservation:
        """As the pipeline does: a round that is asked for comes at once, others while all gateways go on."""
        if (waiting := self.quotas.borrow(caller, 0, cost)) is not None:
            task = asyncio.ensure_future(waiting)
            while not task.done():
                await asyncio.sleep(0)
                if task.done():
                    break
                if self._is_asked:
                    self._is_asked = False
                    await self.reconciler.round()
                else:
                    await self._shop.round()
            task.result()
        return cast(Reservation, self.quotas.reserve(caller, 0, cost))

    def settle(self, reservation: Reservation, cost: int) -> None:
        """A request is over and booked."""
        reservation.settle(0, cost)
        day = self.calendar.name(Period.DAY)
        self._booked.append(UsageEntry(0, day, "acme", "m", 1, 0, 1, 0, cost))

    def flush(self) -> None:
        """Have the ledger count it; its answer comes in a later round."""
        for entry in self._booked:
            self._shop.store.purses.add(entry.tenant, entry.day, entry.cost_nano)
        self._counted += self._booked
        self._booked.clear()

    def hear(self) -> None:
        """The ledger's answer is there."""
        self.quotas.counted(self._counted)
        self._counted.clear()


class Shop:
    """Several gateways and their store."""

    def __init__(
        self,
        tills: int = 4,
        *,
        begins_s: float = NOON_S,
        share: float | None = None,
        fails_closed: bool = False,
    ) -> None:
        self.clock, self.begins_s = ManualClock(), begins_s
        self.store = ModelBudgets(self.clock)
        self._rounds = 0
        self.tills = [Till(f"g{i}", self, share, fails_closed=fails_closed) for i in range(tills)]

    async def round(self) -> None:
        """What happens in 100 ms; the ledger is told of uses every fifth time."""
        self._rounds += 1
        for nth, till in enumerate(self.tills):
            till.hear()
            if not self.store.is_away and (self._rounds + nth) % 5 == 0:
                till.flush()
            await till.reconciler.round()
        self.clock.advance(100)

    async def rounds(self, count: int) -> None:
        for _ in range(count):
            await self.round()


async def spend(shop: Shop, till: int, cost: int, caller: Caller = ACME) -> None:
    """One request, from its reservation to its booking."""
    shop.tills[till].settle(await shop.tills[till].reserve(caller, cost), cost)


async def test_one_gateway_may_spend_all_that_others_do_not_need() -> None:
    shop = Shop()
    for till in range(4):
        await spend(shop, till, 100_000)
    for _ in range(96):
        await spend(shop, 0, 100_000)
    with pytest.raises(BudgetSpent):
        await spend(shop, 0, 1)


async def test_what_one_gateway_spent_another_does_not_give_again() -> None:
    shop = Shop(2)
    await spend(shop, 0, LIMIT - 10)
    with pytest.raises(BudgetSpent, match=r"budget of 0\.01 a day .* 2026-02-01T00:00:00Z") as refused:
        await spend(shop, 1, 11)
    assert (refused.value.http_status, refused.value.reason) == (429, "insufficient_quota")
    assert refused.value.retry_after_ms == pytest.approx(43_010_000, abs=5_000)
    await spend(shop, 1, 10)


async def test_two_that_wait_for_parts_of_the_rest_do_not_keep_it_from_each_other() -> None:
    shop = Shop(2)
    await spend(shop, 0, LIMIT - 1_000)
    asked = [asyncio.ensure_future(spend(shop, till, 800)) for till in (0, 1)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "OverBudget"]


async def test_two_that_hold_a_little_and_wait_for_the_rest_do_not_keep_that_from_each_other() -> None:
    shop = Shop(2)
    await spend(shop, 0, LIMIT - 20_000)
    for _ in range(2):  # the first time one of them is short
        for till in (0, 1):
            await spend(shop, till, 1_000)
        await shop.rounds(20)
    assert all(till.accounts.find(ACME, shop.clock.now_ms()).wallet.holds for till in shop.tills)
    asked = [asyncio.ensure_future(spend(shop, till, 15_500)) for till in (0, 1)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "OverBudget"]


async def test_what_was_reserved_and_not_spent_is_there_for_all() -> None:
    shop = Shop(2)
    reservation = await shop.tills[0].reserve(ACME, LIMIT)
    with pytest.raises(BudgetSpent):
        await spend(shop, 1, 1)
    shop.tills[0].settle(reservation, 1_000)
    await shop.rounds(2)
    await spend(shop, 1, LIMIT - 1_000)


@pytest.mark.parametrize(("budget", "is_reset"), [({"day_nano": LIMIT}, True), ({"month_nano": LIMIT}, True)])
async def test_a_new_period_begins_with_all_of_it(budget: dict[str, int], is_reset: bool) -> None:
    shop, caller = Shop(2, begins_s=EVE_S), caller_of(**budget)
    await spend(shop, 0, LIMIT, caller)
    with pytest.raises(BudgetSpent):
        await spend(shop, 1, 1, caller)
    await shop.rounds(110)
    await spend(shop, 1, LIMIT, caller)
    with pytest.raises(BudgetSpent):
        await spend(shop, 0, 1, caller)


async def test_of_two_budgets_the_month_goes_on_when_a_day_is_over() -> None:
    shop, caller = Shop(1, begins_s=EVE_S - 86_400), caller_of(day_nano=LIMIT, month_nano=LIMIT + 10)
    await spend(shop, 0, LIMIT, caller)
    await shop.rounds(110)
    await spend(shop, 0, 10, caller)
    with pytest.raises(BudgetSpent, match="a month"):
        await spend(shop, 0, 1, caller)


async def test_requests_that_run_into_the_next_day_are_paid_by_it() -> None:
    shop = Shop(2, begins_s=EVE_S)
    reservation = await shop.tills[0].reserve(ACME, LIMIT // 2)
    await shop.rounds(110)
    with pytest.raises(BudgetSpent):
        await spend(shop, 1, LIMIT // 2 + 1)
    shop.tills[0].settle(reservation, LIMIT // 2)
    await spend(shop, 1, LIMIT // 2)


async def test_a_dead_gateway_gives_back_what_it_held_and_what_it_had_booked_counts() -> None:
    shop = Shop(2)
    await spend(shop, 0, LIMIT // 4)
    await shop.tills[0].reserve(ACME, LIMIT // 2)
    await shop.rounds(1)
    dead = shop.tills.pop(0)
    dead.flush()
    await shop.rounds(25)
    await spend(shop, 0, LIMIT * 3 // 4)
    with pytest.raises(BudgetSpent):
        await spend(shop, 0, 1)


async def test_without_the_store_each_gateway_has_its_share_of_what_was_left() -> None:
    shop = Shop(2)
    for till in range(2):
        await spend(shop, till, LIMIT // 10)
    await shop.rounds(2)
    shop.store.is_away = True
    await shop.rounds(6)
    for till in range(2):
        await spend(shop, till, LIMIT * 38 // 100)
        with pytest.raises(BudgetSpent):
            await spend(shop, till, LIMIT // 10)
    shop.store.is_away = False
    await shop.rounds(20)
    with pytest.raises(BudgetSpent):
        await spend(shop, 0, LIMIT // 10)
    await spend(shop, 0, LIMIT * 4 // 100)


async def test_a_store_that_has_lost_everything_is_told_what_was_spent() -> None:
    shop = Shop(2)
    await spend(shop, 0, LIMIT // 2)
    await shop.rounds(3)
    shop.store.is_away = True
    await shop.rounds(6)
    shop.store.forget()
    shop.store.purses.forget()
    shop.store.is_away = False
    await shop.rounds(20)
    with pytest.raises(BudgetSpent):
        await spend(shop, 1, LIMIT // 2 + 1)
    await spend(shop, 1, LIMIT // 2)


async def test_an_idle_tenant_is_remembered_through_an_outage() -> None:
    shop = Shop(1)
    await spend(shop, 0, LIMIT)
    await shop.rounds(150)
    assert len(shop.tills[0].accounts) == 0
    shop.store.is_away = True
    await shop.rounds(12)
    with pytest.raises(BudgetSpent):
        await spend(shop, 0, LIMIT // 2)


async def test_configured_to_refuse_it_refuses_while_the_store_is_away() -> None:
    shop = Shop(1, fails_closed=True)
    shop.store.is_away = True
    with pytest.raises(QuotaUnknown):
        await spend(shop, 0, 1)


async def test_a_request_dearer_than_the_whole_budget_is_told_so() -> None:
    shop = Shop(1)
    with pytest.raises(RequestOverQuota, match=r"may cost 0\.010000001.*budget of 0\.01 a day"):
        await spend(shop, 0, LIMIT + 1)


async def test_what_costs_nothing_is_answered_when_all_is_spent() -> None:
    shop = Shop(1)
    await spend(shop, 0, LIMIT)
    await spend(shop, 0, 0)


async def test_a_changed_budget_keeps_what_was_spent() -> None:
    shop = Shop(1, share=1.0)
    await spend(shop, 0, LIMIT)
    larger = caller_of(day_nano=2 * LIMIT)
    await spend(shop, 0, LIMIT, larger)
    with pytest.raises(BudgetSpent):
        await spend(shop, 0, 1, larger)


async def test_alone_it_spends_all_and_begins_anew_with_the_day() -> None:
    shop = Shop(1, share=1.0, begins_s=EVE_S)
    await spend(shop, 0, LIMIT)
    with pytest.raises(BudgetSpent):
        await spend(shop, 0, 1)
    shop.clock.advance(11_000)
    await spend(shop, 0, LIMIT)


async def test_it_warns_once_in_the_log_and_the_metric_and_in_every_head(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Shop(1, share=1.0)
    till, caller = shop.tills[0], caller_of(day_nano=LIMIT, warning_share=0.5)
    with caplog.at_level(logging.WARNING):
        await spend(shop, 0, LIMIT // 2 - 1, caller)
        assert not caplog.records
        for _ in range(2):
            await spend(shop, 0, LIMIT // 10, caller)
    (record,) = caplog.records
    assert record.getMessage() == (
        "budgets: tenant acme has spent 0.005999999 of its 0.01 for the day 2026-01-31"
    )
    assert till.registry.get_sample_value("pdmesh_gateway_budget_warnings_total", {"period": "day"}) == 1
    headers = dict((await till.reserve(caller, 1_000_000)).headers)
    assert headers == {
        "x-pdmesh-budget-limit-day": "0.01",
        "x-pdmesh-budget-remaining-day": "0.002000001",
        "x-pdmesh-budget-reset-day": "2026-02-01T00:00:00Z",
        "x-pdmesh-budget-warning": "69% of the day's budget is spent",
    }


STEPS = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 3), st.integers(1, LIMIT // 3)),
    st.tuples(st.just("settle"), st.integers(0, 100), st.integers(0, 100)),
    st.tuples(st.just("round"), st.integers(1, 20), st.just(0)),
    st.tuples(st.just("die"), st.integers(0, 3), st.just(0)),
)


@given(st.lists(STEPS, max_size=60))
def test_four_gateways_never_pass_a_budget_and_never_refuse_below_it(
    steps: list[tuple[str, int, int]],
) -> None:
    """Whatever the order of requests and rounds, and whichever gateways die."""

    async def play() -> None:
        shop = Shop()
        running: list[tuple[Till, Reservation, int]] = []
        spent, died_ms = 0, -10_000.0
        for step, which, number in steps:
            reserved = sum(cost for _, _, cost in running)
            if step == "reserve":
                till = shop.tills[which % len(shop.tills)]
                try:
                    running.append((till, await till.reserve(ACME, number), number))
                except BudgetSpent:
                    is_settled = shop.clock.now_ms() - died_ms > 3_000
                    assert spent + reserved + number > LIMIT or not is_settled, "refused below the budget"
            elif step == "settle" and running:
                till, reservation, most = running.pop(which % len(running))
                cost = most * number // 100
                till.settle(reservation, cost)
                spent += cost
            elif step == "round":
                await shop.rounds(which)
            elif step == "die" and len(shop.tills) > 1:
                dead = shop.tills.pop(which % len(shop.tills))
                dead.flush()
                running = [one for one in running if one[0] is not dead]
                died_ms = shop.clock.now_ms()
            assert spent + sum(cost for _, _, cost in running) <= LIMIT * 1.01, "passed the budget"

    asyncio.run(play())
