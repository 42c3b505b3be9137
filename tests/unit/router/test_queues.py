"""The order of waiting: class, fair share, deadline, length; failures first, age above all."""

import random
from collections import Counter
from types import SimpleNamespace

import pytest

from services.common.domain import Receipt, Request, Sampling, ServiceClass
from services.common.domain.tokens import tokens
from services.router.core.expected_output import ExpectedOutput
from services.router.core.fairness import FairShares
from services.router.core.flight import Flight
from services.router.core.queues import WaitQueue

AGEING_MS = 1_000.0
POOL = SimpleNamespace(expected_output=ExpectedOutput(3, 3))


def flight(
    name: str,
    tenant: str = "t",
    service_class: ServiceClass = ServiceClass.STANDARD,
    length: int = 10,
    deadline_at_ms: float = float("inf"),
    since_ms: float = 0.0,
) -> Flight:
    request = Request(
        name, "m", tokens([1] * length), Sampling(max_tokens=5), tenant=tenant, service_class=service_class
    )
    made = Flight(1, 1, request, POOL, Receipt(name), tokens(), since_ms, deadline_at_ms)
    made.waiting_since_ms = since_ms
    return made


@pytest.fixture
def shares() -> FairShares:
    return FairShares({"heavy": 3.0})


@pytest.fixture
def queue(shares) -> WaitQueue:
    return WaitQueue(100, 100_000, shares, AGEING_MS)


def order(queue: WaitQueue, now_ms: float = 0.0) -> list[str]:
    served = []
    while (head := queue.head(now_ms)) is not None:
        assert queue.remove(head)
        served.append(head.request.request_id)
    return served


def test_better_classes_go_first(queue):
    for name, service_class in [("b", ServiceClass.BATCH), ("s", ServiceClass.STANDARD)]:
        queue.append(flight(name, service_class=service_class))
    queue.append(flight("i", service_class=ServiceClass.INTERACTIVE))
    assert order(queue) == ["i", "s", "b"]


def test_within_a_tenant_the_earliest_deadline_then_the_shortest(queue):
    queue.append(flight("long", length=50))
    queue.append(flight("short", length=5))
    queue.append(flight("late", length=50, deadline_at_ms=900))
    queue.append(flight("soon", length=90, deadline_at_ms=100))
    assert order(queue) == ["soon", "late", "short", "long"]


def test_those_that_failed_come_first_and_in_their_order(queue):
    queue.append(flight("new", service_class=ServiceClass.INTERACTIVE))
    queue.put_back(flight("again1", service_class=ServiceClass.BATCH, length=50))
    queue.put_back(flight("again2"))
    assert order(queue) == ["again1", "again2", "new"]


def test_age_beats_class_and_length(queue):
    queue.append(flight("old", service_class=ServiceClass.BATCH, length=90, since_ms=0.0))
    queue.append(flight("fresh", service_class=ServiceClass.INTERACTIVE, length=5, since_ms=500.0))
    assert queue.head(AGEING_MS - 1).request.request_id == "fresh"
    assert queue.head(AGEING_MS).request.request_id == "old"


def serve(queue: WaitQueue, shares: FairShares, rounds: int) -> Counter:
    served: Counter = Counter()
    for _ in range(rounds):
        head = queue.head(0.0)
        assert head is not None
        queue.remove(head)
        tenant = head.request.tenant
        shares.served_next(tenant)
        shares.charge(tenant, prompt_tokens=len(head.request.prompt))
        served[tenant] += len(head.request.prompt)
    return served


def test_tenants_share_by_tokens_not_by_requests(shares):
    queue = WaitQueue(1_000, 1_000_000, shares, AGEING_MS)
    for i in range(300):
        queue.append(flight(f"a{i}", tenant="many_short", length=10))
    for i in range(30):
        queue.append(flight(f"b{i}", tenant="few_long", length=100))
    served = serve(queue, shares, 200)
    assert served["many_short"] == pytest.approx(served["few_long"], rel=0.1)


def test_weights_scale_the_shares(shares):
    queue = WaitQueue(1_000, 1_000_000, shares, AGEING_MS)
    for i in range(200):
        queue.append(flight(f"h{i}", tenant="heavy"))
        queue.append(flight(f"l{i}", tenant="light"))
    served = serve(queue, shares, 120)
    assert served["heavy"] == pytest.approx(3 * served["light"], rel=0.1)


def test_an_idle_tenant_does_not_save_up_service(shares):
    queue = WaitQueue(1_000, 1_000_000, shares, AGEING_MS)
    for i in range(200):
        queue.append(flight(f"a{i}", tenant="busy"))
    serve(queue, shares, 100)
    for i in range(100):
        queue.append(flight(f"b{i}", tenant="late"))
    served = serve(queue, shares, 100)
    assert served["busy"] == pytest.approx(served["late"], rel=0.1)


def test_bounds_hold_for_requests_and_tokens(shares):
    queue = WaitQueue(2, 100, shares, AGEING_MS)
    assert queue.has_room_for(100)
    assert not queue.has_room_for(101)
    queue.append(flight("a", length=60))
    assert queue.has_room_for(40)
    assert not queue.has_room_for(41)
    queue.append(flight("b", length=1))
    assert not queue.has_room_for(1)


@pytest.mark.parametrize("seed", range(20))
def test_random_use_serves_each_exactly_once_and_keeps_the_counts(shares, seed):
    chance = random.Random(seed)
    queue = WaitQueue(10_000, 10_000_000, shares, AGEING_MS)
    waiting: set[Flight] = set()
    for i in range(400):
        if waiting and chance.random() < 0.5:
            out = queue.head(float(i)) if chance.random() < 0.5 else chance.choice(sorted(waiting, key=id))
            assert out in waiting
            assert queue.remove(out)
            assert not queue.remove(out)
            waiting.discard(out)
        else:
            made = flight(
                f"r{i}",
                chance.choice("abc"),
                chance.choice(list(ServiceClass)),
                chance.randint(1, 90),
                since_ms=float(i),
            )
            waiting.add(made)
            (queue.put_back if chance.random() < 0.2 else queue.append)(made)
        assert len(queue) == len(waiting)
        assert queue.tokens == sum(f.text_tokens for f in waiting)
    assert sorted(order(queue, 400.0)) == sorted(f.request.request_id for f in waiting)


def test_what_has_left_is_not_kept_even_when_age_decides_for_long(shares):
    queue = WaitQueue(10_000, 10_000_000, shares, AGEING_MS)
    for i in range(20_000):
        queue.append(flight(f"r{i}", "ab"[i % 2], since_ms=float(i)))
        if len(queue) > 500:
            head = queue.head(float(i) + AGEING_MS)
            assert head is not None
            queue.remove(head)
    lines = [line for c in queue._classes.values() for line in c._tenants.values()]
    assert sum(len(line._heap) for line in lines) < 3 * 1_024 + len(queue)


def test_tenants_remembered_are_bounded(shares):
    for i in range(25_000):
        shares.join(f"t{i}")
        shares.charge(f"t{i}", prompt_tokens=1 + i)
    assert len(shares._counters) <= 10_000
    assert shares.counter("t24999") > 0
