"""Decode placement between two load reports: by the reported step and what has come and gone since."""

from collections import Counter

import pytest

from services.common.domain import (
    Capacity,
    Fingerprint,
    LoadReport,
    Path,
    Receipt,
    Registration,
    Request,
    Role,
    Sampling,
)
from services.common.domain.tokens import tokens
from services.router.core.config import CoreConfig
from services.router.core.fleet import Fleet, Pool, Seat, Worker
from services.router.core.flight import Flight
from services.router.core.placement import Policies

PRINTS = Fingerprint("m", "d", "f", "f", 16, 1, "e", "1", "c")
ROOM = Capacity(100_000, 1, 256, 8_192, 10_000)
BLOCKS = 8
PATHS = pytest.mark.parametrize("path", [Path.LOCAL, Path.DISAGGREGATED])


class Tier:
    """Decode workers far from full, each with so many requests at its last report."""

    def __init__(self, *steps_ms: float, requests: int = 10, running: int | None = None) -> None:
        config = CoreConfig()
        self.policies, self.fleet = Policies.of(config), Fleet(config)
        self.workers = [self._add(session, requests) for session in range(1, len(steps_ms) + 1)]
        self.seats = [[Seat(worker, BLOCKS) for _ in range(requests)] for worker in self.workers]
        self.report(*steps_ms, running=requests if running is None else running)

    def _add(self, session: int, requests: int) -> Worker:
        worker = Worker(session, Registration(f"w{session}", Role.DECODE, PRINTS, ROOM), 0.0)
        self.pool: Pool = self.fleet.attach(worker)
        return worker

    def report(self, *steps_ms: float, running: int) -> None:
        for worker, step_ms in zip(self.workers, steps_ms, strict=True):
            worker.load = LoadReport(step_ms=step_ms, running_requests=running)

    def place(self, number: int, path: Path = Path.LOCAL) -> list[int]:
        """How many of them each worker gets."""
        request = Request("r", "m", tokens(range(100)), Sampling(16))
        got: Counter[int] = Counter()
        for _ in range(number):
            flight = Flight(1, 1, request, self.pool, Receipt("r"), tokens(), 0.0)
            flight.path = path
            worker = self.policies.pick_decode(flight, 0.0)
            assert worker is not None
            Seat(worker, BLOCKS)
            got[worker.session] += 1
        return [got[worker.session] for worker in self.workers]


@PATHS
def test_requests_between_two_reports_spread(path: Path) -> None:
    assert Tier(20.0, 20.5, 21.0).place(30, path) == pytest.approx([10, 10, 10], abs=1)


@PATHS
def test_a_slower_gpu_gets_less(path: Path) -> None:
    fast, slow = Tier(20.0, 40.0, requests=20).place(60, path)
    assert fast > 2 * slow > 0


def test_a_much_slower_gpu_gets_none_while_the_fast_one_is_quicker_with_all() -> None:
    assert Tier(10.0, 80.0).place(20) == [20, 0]


def test_one_request_more_makes_an_idle_worker_the_better() -> None:
    assert Tier(12.0, 12.5, 13.0, requests=0).place(3) == [1, 1, 1]


def test_requests_that_have_ended_since_the_report_make_a_worker_quicker() -> None:
    tier = Tier(20.0, 24.0)
    for seat in tier.seats[1][:5]:
        seat.leave()
    assert tier.place(1) == [0, 1]


def test_a_report_counts_what_was_given_before_it() -> None:
    tier = Tier(20.0, 20.5)
    tier.place(10)
    tier.report(20.0, 22.0, running=15)
    assert tier.place(1) == [1, 0]


def test_a_request_weighs_little_beside_those_of_other_routers() -> None:
    """What runs there may be another router's; the step grows by this router's share only."""
    assert Tier(20.0, 21.0, requests=1, running=99).place(4) == [4, 0]


def test_more_ended_than_the_report_had_running_is_no_error() -> None:
    tier = Tier(20.0, 20.0, running=0)
    for seat in tier.seats[1]:
        seat.leave()
    assert tier.place(1) == [0, 1]


def test_a_worker_that_has_not_reported_is_taken_for_quick() -> None:
    assert Tier(20.0, 0.0, requests=0).place(1) == [0, 1]
