"""Dividing a worker among routers: nobody counts on what another may use."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.domain import Capacity, Grant, Want
from services.worker.grants import Grants, fair_shares

CAPACITY = Capacity(1_000, 1, 100, 1, 1)


@pytest.mark.parametrize(
    ("demands", "shares"),
    [
        ([], []),
        ([0], [10]),
        ([0, 0], [5, 5]),
        ([9, 9], [5, 5]),
        ([20, 2], [8, 2]),
        ([2, 3, 20], [2, 3, 5]),
        ([1, 1, 1], [3, 3, 4]),
    ],
)
def test_fair_shares(demands: list[int], shares: list[int]) -> None:
    assert sorted(fair_shares(10, demands)) == sorted(shares)


@dataclass
class Router:
    """A router that reads grants late and never places more than it was granted."""

    grants: Grants[str]
    name: str
    inbox: list[Grant] = field(default_factory=list)
    grant: Grant = field(default_factory=lambda: Grant(0, 0, 0))
    seats: int = 0
    waiting: int = 0

    def read(self) -> None:
        if self.inbox:
            self.grant = self.inbox.pop(0)

    def place(self, number: int) -> None:
        number = min(number, self.waiting, max(0, self.grant.running_requests - self.seats))
        self.seats, self.waiting = self.seats + number, self.waiting - number

    def say(self) -> None:
        if not self.grant.number:
            return
        want = Want(self.grant.number, self.seats, self.seats * 10, self.waiting, self.waiting * 10)
        self.grants.wants(self.name, want)


class Site:
    """Routers on one worker, with messages that take their time."""

    def __init__(self) -> None:
        self.grants: Grants[str] = Grants(CAPACITY)
        self.routers: dict[str, Router] = {}

    def join(self, name: str) -> None:
        self.routers[name] = Router(self.grants, name)
        self.grants.join(name)
        self.send()

    def leave(self, name: str) -> None:
        self.routers.pop(name)
        self.grants.leave(name)
        self.send()

    def send(self) -> None:
        for name, grant in self.grants.due():
            self.routers[name].inbox.append(grant)

    def settle(self) -> None:
        for _ in range(20):
            for router in self.each():
                while router.inbox:
                    router.read()
                router.place(1_000)
                router.say()
                self.send()

    def each(self) -> Iterator[Router]:
        return iter(list(self.routers.values()))

    def counted_on(self) -> int:
        """Seats that routers use, or believe that they may."""
        return sum(
            max(r.seats, r.grant.running_requests, *(g.running_requests for g in r.inbox), 0)
            for r in self.each()
        )


def test_one_router_gets_everything_and_shares_it_with_the_next() -> None:
    site = Site()
    site.join("a")
    site.settle()
    assert site.routers["a"].grant.running_requests == 100
    site.join("b")
    site.settle()
    assert site.routers["a"].grant.running_requests == 100, "nobody lacks anything yet"
    site.routers["b"].waiting = 30
    site.settle()
    assert site.routers["b"].seats == 30
    assert site.counted_on() <= 100


def test_what_a_busy_router_holds_comes_over_as_it_ends() -> None:
    site = Site()
    site.join("a")
    site.routers["a"].waiting = 300
    site.settle()
    site.join("b")
    site.routers["b"].waiting = 300
    site.settle()
    assert (site.routers["a"].seats, site.routers["b"].seats) == (100, 0)
    site.routers["a"].seats = 70
    site.settle()
    assert (site.routers["a"].seats, site.routers["b"].seats) == (70, 30)
    site.routers["a"].seats = 20
    site.settle()
    assert (site.routers["a"].seats, site.routers["b"].seats) == (50, 50)


def test_a_router_whose_seats_are_taken_meanwhile_gets_back_all_but_what_the_other_wants() -> None:
    site = Site()
    site.join("a")
    site.join("b")
    a, b = site.routers["a"], site.routers["b"]
    for router in (a, b):
        router.read()
    b.waiting = 3
    b.say()
    site.send()
    assert a.inbox[-1].running_requests < 97, "it has not said that it wants any"
    a.waiting = 100
    a.place(100)
    a.say()
    site.send()
    assert a.inbox[-1].running_requests == 97
    assert not b.grant.running_requests, "all are taken"
    a.seats = 97
    site.settle()
    assert (a.seats, b.seats) == (97, 3)


def test_what_a_lost_router_had_is_dealt_out_again() -> None:
    site = Site()
    for name in "abc":
        site.join(name)
        site.routers[name].waiting = 30
    site.settle()
    assert sorted(r.grant.running_requests for r in site.each()) == [33, 33, 34]
    site.leave("a")
    site.settle()
    assert [r.grant.running_requests for r in site.each()] == [50, 50]


def test_a_want_of_an_unknown_router_is_ignored() -> None:
    grants: Grants[str] = Grants(CAPACITY)
    grants.wants("x", Want(1, 5, 5, 5, 5))
    grants.leave("x")
    assert grants.due() == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "read", "arrive", "place", "end", "say", "send"]),
        st.sampled_from("abc"),
        st.integers(1, 80),
    ),
    max_size=120,
)


@given(STEPS)
def test_the_worker_is_never_overbooked(steps: list[tuple[str, str, int]]) -> None:
    site = Site()
    for what, name, number in steps:
        if what == "join" and name not in site.routers:
            site.join(name)
        router = site.routers.get(name)
        if router is None:
            continue
        match what:
            case "leave":
                site.leave(name)
            case "read":
                router.read()
            case "arrive":
                router.waiting += number
            case "place":
                router.place(number)
            case "end":
                router.seats -= min(router.seats, number)
            case "say":
                router.say()
            case "send":
                site.send()
        assert site.counted_on() <= 100
    site.settle()
    wanted = sum(router.waiting + router.seats for router in site.each())
    assert sum(router.seats for router in site.each()) == min(100, wanted) or not site.routers
