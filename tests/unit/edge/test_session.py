"""The session between a gateway and the router of its own process."""

import asyncio
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.common.clock import ManualClock
from services.common.domain import (
    Capacity,
    Fingerprint,
    FinishReason,
    JobFinished,
    Receipt,
    Registration,
    Request,
    Role,
    Sampling,
    StepOutput,
    TokenColumns,
)
from services.common.domain.tokens import tokens
from services.common.errors import MeshError
from services.edge.session import InnerSession
from services.gateway.links.streams import LiveStream, Placement
from services.router.core import CoreConfig, RouterCore
from services.router.core.events import WorkerAttached, WorkerDetached, WorkerStep
from services.router.metrics import Metrics
from services.router.poison import PoisonLog
from services.router.shell import Shell, WorkerPeer

WORKER = 1_000


class Sink:
    """Keeps what it is told; stops its stream, or fails, at a token if it shall."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.cancel_at: int | None = None
        self.fail_at: int | None = None
        self.cancel: Any = None

    def on_placed(self, placement: Placement) -> None:
        self.told.append(placement.decode_worker)

    def on_token(self, token_id: int) -> None:
        self.told.append(token_id)
        if token_id == self.fail_at:
            raise RuntimeError("told to")
        if token_id == self.cancel_at:
            self.cancel()

    def on_tokens(self, ids: "array[int]", logprobs: Any = None) -> None:
        self.told += list(ids)

    def on_ended(self, reason: FinishReason, receipt: Receipt, vector: Any = None) -> None:
        self.told.append((reason, receipt.generated_tokens))

    def on_failed(self, error: MeshError, _receipt: object = None) -> None:
        self.told.append(error.reason)


class Deaf(list[Any]):
    """Takes nothing."""

    def append(self, _: Any) -> None:
        raise RuntimeError("told to, again")


class Site:
    """A shell with one worker that decodes, and a session."""

    def __init__(self) -> None:
        clock = ManualClock()
        self.shell = Shell(RouterCore(CoreConfig()), clock, Metrics(CollectorRegistry()), PoisonLog(""))
        self.session = InnerSession(self.shell, lambda: None)
        self.worker = WorkerPeer(None)

    def attach(self) -> None:
        prints = Fingerprint("m", "d", "bf16", "bf16", 16, 1, "e", "1", "c")
        registration = Registration("w", Role.DECODE, prints, Capacity(1_000, 160, 8, 8_192, 1_000))
        self.shell.workers[WORKER] = self.worker
        self.shell.feed(WorkerAttached(WORKER, registration))

    def submit(self, max_tokens: int = 10) -> tuple[LiveStream, Sink]:
        sink = Sink()
        request = Request("r", "m", tokens(range(5, 25)), Sampling(max_tokens))
        live = LiveStream(0, request, sink, frozenset())
        sink.cancel = lambda: self.session.cancel(live)
        self.session.send(live)
        return live, sink

    def job(self) -> int:
        """The stream number of the newest job at the worker."""
        (job,) = self.worker.draft.take(1, 1).jobs
        return int(job.stream)

    def step(self, job: int, *ids: int) -> None:
        for token_id in ids:
            self.shell.feed_tokens(WORKER, tokens([job]), tokens([token_id]))


@asynccontextmanager
async def running() -> AsyncIterator[Site]:
    site = Site()
    task = asyncio.create_task(site.session.run())
    await asyncio.sleep(0)
    site.attach()
    try:
        yield site
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not site.session.is_open
    assert not site.shell.gateways


async def turn() -> None:
    """What was said has arrived."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def pair(site: Site) -> tuple[Sink, Sink, list[int]]:
    """Two requests at the worker, and their jobs."""
    (_, one), (_, other) = site.submit(), site.submit()
    await turn()
    return one, other, [int(job.stream) for job in site.worker.draft.take(1, 1).jobs]


async def test_it_is_open_while_it_runs_and_knows_what_is_served() -> None:
    site = Site()
    assert not site.session.is_open
    async with running() as site:
        assert site.session.is_open
        assert site.session.model_lens == {"m": 1_000}
        site.shell.leave()
        assert not site.session.is_open


async def test_a_request_goes_to_the_worker_and_its_tokens_come_back() -> None:
    async with running() as site:
        _, sink = site.submit()
        assert site.session.stream_count == 1
        assert not site.shell.core.state.flights, "the router hears of it in the next turn"
        await turn()
        job = site.job()
        site.step(job, 7, 8)
        columns = TokenColumns(tokens([job, job]), tokens([1, 1]), tokens([9, 10]))
        end = JobFinished(job, FinishReason.STOP, 0)
        site.shell.feed(WorkerStep(WORKER, StepOutput(tokens=columns, finished=[end])))
        assert sink.told == ["w", 7, 8, 9, 10, (FinishReason.STOP, 4)]
        assert site.session.stream_count == 0


async def test_tokens_of_one_stream_that_come_together_are_all_told() -> None:
    async with running() as site:
        live, sink = site.submit()
        await turn()
        job = site.job()
        site.shell.feed_tokens(WORKER, tokens([job, job]), tokens([7, 8]))
        assert sink.told == ["w", 7, 8]
        assert list(live.delivered) == [7, 8]


async def test_a_stream_may_be_cancelled_by_its_own_token() -> None:
    async with running() as site:
        _, sink = site.submit()
        await turn()
        sink.cancel_at, job = 8, site.job()
        site.step(job, 7, 8, 9)
        assert sink.told == ["w", 7, 8], "nothing after it is told"
        await turn()
        assert list(array("I", site.worker.draft.take(2, 2).aborted_streams)) == [job]
        assert sink.told[3:] == [(FinishReason.CANCELLED, 3)]
        assert not site.shell.core.state.flights


async def test_an_answers_fault_ends_it_alone() -> None:
    async with running() as site:
        broken, whole, jobs = await pair(site)
        broken.fail_at = 7
        site.shell.feed_tokens(WORKER, tokens(jobs), tokens([7, 7]))
        site.step(jobs[1], 8)
        assert broken.told == ["w", 7, "internal"]
        assert whole.told == ["w", 7, 8]
        await turn()
        assert list(array("I", site.worker.draft.take(2, 2).aborted_streams)) == jobs[:1]


async def test_a_refusal_is_told() -> None:
    async with running() as site:
        _, sink = site.submit(max_tokens=5_000)
        await turn()
        (reason,) = sink.told
        assert isinstance(reason, str)
        assert site.session.stream_count == 0


async def test_a_lost_worker_costs_nothing_but_time() -> None:
    async with running() as site:
        _, sink = site.submit()
        await turn()
        site.step(site.job(), 7)
        site.shell.feed(WorkerDetached(WORKER, 0, has_died=False))
        site.worker = WorkerPeer(None)
        site.attach()
        (job,) = site.worker.draft.take(1, 1).jobs
        assert list(array("I", job.delivered_token_ids)) == [7]
        site.step(job.stream, 8)
        assert sink.told == ["w", 7, 8]


async def test_what_is_in_flight_when_it_ends_is_cancelled() -> None:
    async with running() as site:
        site.submit()
        await turn()
        job = site.job()
    assert list(array("I", site.worker.draft.take(2, 2).aborted_streams)) == [job]
    assert not site.shell.core.state.flights


async def test_a_fault_of_the_router_ends_the_request_that_met_it_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as site:
        feed = site.shell.feed

        def fails_once(event: Any) -> None:
            monkeypatch.setattr(site.shell, "feed", feed)
            raise KeyError("told to")

        monkeypatch.setattr(site.shell, "feed", fails_once)
        (_, broken), (_, whole) = site.submit(), site.submit()
        await turn()
        site.step(site.job(), 7)
        assert broken.told == ["internal"]
        assert whole.told == ["w", 7]
        assert site.session.stream_count == 1


async def test_a_sink_that_cannot_be_told_of_its_fault_costs_the_others_nothing() -> None:
    async with running() as site:
        broken, whole, jobs = await pair(site)
        broken.fail_at = 7
        broken.told = Deaf()
        site.shell.feed_tokens(WORKER, tokens(jobs), tokens([7, 7]))
        assert whole.told == ["w", 7]


async def test_nothing_is_said_to_the_router_once_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as site:
        live, _ = site.submit()
        await turn()
    fed: list[Any] = []
    monkeypatch.setattr(site.shell, "feed", fed.append)
    site.session.cancel(live)
    await turn()
    assert fed == []


@pytest.mark.parametrize("times", [1, 2])
async def test_cancelling_is_said_once(times: int) -> None:
    async with running() as site:
        live, _ = site.submit()
        await turn()
        job = site.job()
        assert all(site.session.cancel(live) for _ in range(times))
        await turn()
        assert list(array("I", site.worker.draft.take(2, 2).aborted_streams)) == [job]
        assert not site.session.cancel(live), "it is here no longer"
