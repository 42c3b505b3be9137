"""A router beside others: it places no more on a worker than the worker grants."""

from dataclasses import replace

import pytest

from services.common.domain import (
    Capacity,
    Fingerprint,
    Grant,
    Registration,
    Request,
    Role,
    Sampling,
    Want,
)
from services.common.domain.tokens import tokens
from services.router.core import CoreConfig, RouterCore
from services.router.core.actions import Action, SendWant, StartJob
from services.router.core.events import (
    GatewayAttached,
    Submitted,
    Tick,
    WorkerAttached,
    WorkerDetached,
    WorkerGrant,
)

GATEWAY, WORKER = 1, 2
BLOCK_TOKENS, OUTPUT_TOKENS = 16, 16
SHARED = Registration(
    "w",
    Role.BOTH,
    Fingerprint("m", "d", "f32", "f32", BLOCK_TOKENS, 1, "sim", "1", "c"),
    Capacity(100, 1, 10, 8_192, 1_000),
    is_shared=True,
)


class Site:
    """One core, one gateway, one worker that also serves other routers."""

    def __init__(self, registration: Registration = SHARED) -> None:
        self.core = RouterCore(CoreConfig(expected_output_tokens=OUTPUT_TOKENS, canary_interval_ms=0))
        self.now_ms = 0.0
        self._stream = 0
        self.feed(GatewayAttached(GATEWAY))
        self.feed(WorkerAttached(WORKER, registration))

    def feed(self, event) -> list[Action]:
        return self.core.on_event(event, self.now_ms)

    def submit(self, prompt_tokens: int = BLOCK_TOKENS) -> list[Action]:
        self._stream += 1
        request = Request("r", "m", tokens([1] * prompt_tokens), Sampling(max_tokens=OUTPUT_TOKENS))
        return self.feed(Submitted(GATEWAY, self._stream, request))

    def tick(self) -> list[Action]:
        self.now_ms += 250.0
        return self.feed(Tick())


def started(actions: list[Action]) -> int:
    return sum(isinstance(action, StartJob) for action in actions)


def wants(actions: list[Action]) -> list[Want]:
    return [action.want for action in actions if isinstance(action, SendWant)]


def test_nothing_is_placed_before_the_first_grant_and_no_more_than_it_allows():
    site = Site()
    assert sum(started(site.submit()) for _ in range(5)) == 0
    assert started(site.feed(WorkerGrant(WORKER, Grant(1, 3, 100)))) == 3
    assert started(site.submit()) == 0
    assert started(site.feed(WorkerGrant(WORKER, Grant(2, 10, 100)))) == 3


def test_blocks_bind_as_seats_do_and_a_part_is_no_empty_worker():
    site = Site()
    site.feed(WorkerGrant(WORKER, Grant(1, 10, 1)))
    assert started(site.submit()) == 0
    assert started(site.feed(WorkerGrant(WORKER, Grant(2, 10, 2)))) == 1


def test_a_request_beyond_the_whole_worker_runs_once_all_of_it_is_granted():
    site = Site(replace(SHARED, capacity=replace(SHARED.capacity, kv_blocks=3)))
    site.feed(WorkerGrant(WORKER, Grant(1, 10, 2)))
    assert started(site.submit(prompt_tokens=60)) == 0
    assert started(site.feed(WorkerGrant(WORKER, Grant(2, 10, 3)))) == 1


def test_a_grant_is_answered_and_later_changes_are_told_by_the_tick():
    site = Site()
    assert wants(site.feed(WorkerGrant(WORKER, Grant(7, 1, 100)))) == [Want(7)]
    site.submit()
    site.submit()
    assert wants(site.tick()) == [Want(7, 1, 2, 1, 2)]
    assert wants(site.tick()) == []


def test_a_grant_cannot_exceed_what_was_registered():
    site = Site()
    site.feed(WorkerGrant(WORKER, Grant(1, 1_000, 100_000)))
    worker = site.core.state.fleet.workers[WORKER]
    assert (worker.capacity.max_running_requests, worker.capacity.kv_blocks) == (10, 100)


def test_a_grant_of_a_lost_worker_is_ignored_and_nobody_is_told_any_more():
    site = Site()
    site.feed(WorkerGrant(WORKER, Grant(1, 1, 100)))
    site.feed(WorkerDetached(WORKER, 0))
    assert wants(site.feed(WorkerGrant(WORKER, Grant(2, 1, 100)))) == []
    assert wants(site.tick()) == []


@pytest.mark.parametrize("requests", [0, 4])
def test_a_worker_of_this_router_alone_is_never_told(requests: int):
    site = Site(replace(SHARED, is_shared=False))
    assert sum(started(site.submit()) for _ in range(requests)) == requests
    assert wants(site.tick()) == []
