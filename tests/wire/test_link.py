"""Links on loopback, over gRPC and over lanes: order, merging, acknowledgement, silence, violations."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import grpc.aio
import pytest

from pdmesh.router.v1 import router_pb2, router_pb2_grpc
from services.common.domain import Request, Sampling
from services.common.domain.tokens import tokens
from services.common.errors import MeshError, ProtocolViolation, QueueFull
from services.common.limits import DEFAULTS
from services.common.rpc import Link, LinkLost, RpcServer, abort_with, error_from_rpc, send_head
from services.common.rpc.convert import request_from_wire, request_to_wire
from services.common.rpc.frames import AnswerDraft, SubmissionDraft
from services.common.rpc.lane import CONNECT, open_stream
from services.common.rpc.lane.stream import Stream
from services.common.rpc.link import _cause

PATIENT = replace(DEFAULTS, heartbeat_timeout_ms=60_000)
Handler = Callable[[grpc.aio.ServicerContext], Awaitable[None]]


class Servicer(router_pb2_grpc.RouterServiceServicer):
    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    async def Connect(self, _requests, context):  # noqa: N802
        await self.handler(context)


class Ends:
    """Servers, and calls to them, all ended with the test."""

    def __init__(self, stack: AsyncExitStack, has_lanes: bool) -> None:
        self.server: RpcServer
        self._stack, self.has_lanes = stack, has_lanes

    async def call(self, handler: Handler):
        """A call to a new server whose method the handler is."""
        self.server = RpcServer(["pdmesh.router.v1.RouterService"])
        servicer = Servicer(handler)
        router_pb2_grpc.add_RouterServiceServicer_to_server(servicer, self.server.server)
        if self.has_lanes:
            self.server.offer_lanes({CONNECT: servicer.Connect}, 0)
        port = await self.server.start("127.0.0.1", 0)
        self._stack.push_async_callback(self.server.stop, 0)
        call = await self._stack.enter_async_context(open_stream(f"127.0.0.1:{port}", CONNECT))
        assert isinstance(call, Stream) is self.has_lanes
        return call


@pytest.fixture(params=["grpc", "lane"])
async def ends(request: pytest.FixtureRequest) -> AsyncIterator[Ends]:
    async with AsyncExitStack() as stack:
        yield Ends(stack, request.param == "lane")


over_grpc = pytest.mark.parametrize("ends", ["grpc"], indirect=True)
"""For what lanes do not have."""


def request(i: int, prompt_tokens: int = 3) -> Request:
    return Request(f"r{i}", "m", tokens(range(prompt_tokens)), Sampling(max_tokens=5, temperature=0.7))


async def test_a_thousand_requests_arrive_in_order_and_answers_come_back(ends: Ends):
    seen: list[int] = []

    async def handler(context):
        draft = AnswerDraft()
        link = Link(context, draft, limits=PATIENT)

        def on_frame(frame):
            for submission in frame.submissions:
                assert request_from_wire(submission) == request(submission.stream, 1_000)
                seen.append(submission.stream)
                draft.add_tokens(submission.stream, tokens([submission.stream, 7]))
            link.wake()

        await link.run(on_frame)

    call = await ends.call(handler)
    draft, got = SubmissionDraft(), bytearray()
    link = Link(call, draft, limits=PATIENT)
    for i in range(2_000):
        draft.submit(request_to_wire(i, request(i, 1_000)))
    link.wake()

    def on_frame(frame):
        got.extend(frame.tokens.token_ids)
        if len(got) == 2_000 * 8:
            link.close()

    await link.run(on_frame)
    assert seen == list(range(2_000))
    assert bytes(got) == tokens(x for i in range(2_000) for x in (i, 7)).tobytes()


async def test_a_peer_that_stops_acknowledging_blocks_the_writer_at_the_window(ends: Ends):
    limits = replace(DEFAULTS, frames_unacknowledged_max=8)
    frames = 0

    async def handler(context):
        nonlocal frames
        while await context.read() is not grpc.aio.EOF:
            frames += 1

    call = await ends.call(handler)
    draft = SubmissionDraft()
    link = Link(call, draft, limits=limits)
    running = asyncio.ensure_future(link.run(lambda _frame: None))
    for i in range(200):
        draft.submit(request_to_wire(i, request(i)))
        link.wake()
        await asyncio.sleep(0.001)
    while frames < 8:
        await asyncio.sleep(0.001)
    for i in range(200, 250):
        draft.submit(request_to_wire(i, request(i)))
        link.wake()
        await asyncio.sleep(0.001)
    assert frames == 8
    assert draft.size_bytes() > 0
    running.cancel()
    await asyncio.wait([running])


async def test_tokens_wait_for_more_and_nothing_else_waits(ends: Ends):
    if not ends.has_lanes:
        return  # gRPC's own pace merges enough
    slow = replace(PATIENT, token_frame_interval_ms=60_000, heartbeat_interval_ms=60_000)
    frames: list[int] = []

    async def handler(context):
        draft = AnswerDraft()
        link = Link(context, draft, limits=slow)

        def on_frame(_frame):
            for stream in range(1, 4):
                draft.add_tokens(stream, tokens([stream]))
                link.wake()
            asyncio.get_running_loop().call_later(0.05, end)

        def end():
            draft.add_tokens(4, tokens([4]))
            link.wake()
            draft.end(router_pb2.StreamEnded(stream=1))
            link.wake()

        await link.run(on_frame)

    call = await ends.call(handler)
    draft = SubmissionDraft()
    link = Link(call, draft, limits=slow)

    def on_frame(frame):
        frames.append(len(frame.tokens.streams) // 4)
        if frame.ended:
            link.close()

    link.wake()
    async with asyncio.timeout(20.0):
        await link.run(on_frame)
    assert frames == [4], "three tokens waited for a fourth, and all went with an end"


async def test_a_lone_fast_stream_is_not_held_back(ends: Ends):
    """Its tokens come one in each frame, as soon as the link has seen that they come faster than frames."""
    if not ends.has_lanes:
        return  # gRPC's own pace merges enough
    limits = replace(PATIENT, token_frame_interval_ms=40)
    counts: list[int] = []

    async def handler(context):
        draft = AnswerDraft()
        link = Link(context, draft, limits=limits)
        begun, taken = False, 0

        def on_frame(_frame):
            nonlocal begun
            if not begun:  # later frames are acknowledgements
                begun = True
                asyncio.get_running_loop().call_later(0.015, tick)

        def tick():
            nonlocal taken
            taken += 1
            draft.add_tokens(1, tokens([taken]))
            if taken == 40:
                draft.end(router_pb2.StreamEnded(stream=1))
            else:
                asyncio.get_running_loop().call_later(0.015, tick)
            link.wake()

        await link.run(on_frame)

    call = await ends.call(handler)
    link = Link(call, SubmissionDraft(), limits=limits)

    def on_frame(frame):
        counts.append(len(frame.tokens.streams) // 4)
        if frame.ended:
            link.close()

    link.wake()
    async with asyncio.timeout(20.0):
        await link.run(on_frame)
    assert sum(counts) == 40
    assert counts[10:].count(1) > len(counts[10:]) * 0.7


async def test_a_silent_peer_is_lost(ends: Ends):
    limits = replace(DEFAULTS, heartbeat_interval_ms=20, heartbeat_timeout_ms=100)

    async def handler(context):
        await asyncio.sleep(30)

    call = await ends.call(handler)
    with pytest.raises(LinkLost, match="silent"):
        await Link(call, SubmissionDraft(), limits=limits).run(lambda _frame: None)


async def test_a_peer_is_not_silent_while_we_stand_still_ourselves(ends: Ends):
    limits = replace(DEFAULTS, heartbeat_interval_ms=20, heartbeat_timeout_ms=1_000)

    async def handler(context):
        await Link(context, AnswerDraft(), limits=limits).run(lambda _frame: None)

    call = await ends.call(handler)
    running = asyncio.ensure_future(Link(call, SubmissionDraft(), limits=limits).run(lambda _frame: None))
    for _ in range(3):
        await asyncio.sleep(0.05)
        time.sleep(1.5)  # noqa: ASYNC251 - that is what stands still
    await asyncio.sleep(0.05)
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize("is_dead", [True, False])
async def test_who_dies_leaves_without_a_word_and_who_finds_us_silent_does_not(ends: Ends, is_dead: bool):
    ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def handler(context):
        link = Link(context, AnswerDraft(), limits=PATIENT)
        try:
            await link.run(lambda _frame: None)
        except LinkLost:
            pass  # what it is called does not matter here
        finally:
            ended.set_result(link.is_broken)

    call = await ends.call(handler)
    limits = replace(DEFAULTS, heartbeat_interval_ms=20, heartbeat_timeout_ms=1 if not is_dead else 60_000)
    running = asyncio.ensure_future(Link(call, SubmissionDraft(), limits=limits).run(lambda _frame: None))
    if is_dead:
        await asyncio.sleep(0.05)
        running.cancel()
    await asyncio.wait([running])
    call.cancel()
    async with asyncio.timeout(5):
        assert await ended is (is_dead or not ends.has_lanes)  # gRPC shows no difference


@pytest.mark.parametrize("numbers", [(2,), (1, 1), (1, 3)])
async def test_numbering_gaps_and_repeats_are_violations(ends: Ends, numbers):
    async def handler(context):
        for number in numbers:
            await context.write(router_pb2.ConnectResponse(sequence=number))
        await asyncio.sleep(30)

    call = await ends.call(handler)
    with pytest.raises(ProtocolViolation):
        await Link(call, SubmissionDraft()).run(lambda _frame: None)


@over_grpc
async def test_a_call_cut_short_while_its_head_is_on_its_way_ends_with_the_reason(ends: Ends):
    async def handler(context):
        sending = asyncio.create_task(send_head(context))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await abort_with(context, QueueFull("64 wait"))

    call = await ends.call(handler)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call.read()
    assert isinstance(error_from_rpc(failure.value), QueueFull)


@over_grpc
async def test_a_servicers_head_goes_before_all_that_can_be_cut_short(ends: Ends):
    async def handler(context):
        await Link(context, AnswerDraft(), limits=replace(PATIENT, heartbeat_interval_ms=60_000)).run(print)

    call = await ends.call(handler)
    assert list(await call.initial_metadata()) == []


async def test_an_error_crosses_the_wire_with_reason_field_and_wait(ends: Ends):
    async def handler(context):
        await abort_with(context, QueueFull("64 wait", field="model", retry_after_ms=250))

    call = await ends.call(handler)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await Link(call, SubmissionDraft()).run(lambda _frame: None)
    error: MeshError = error_from_rpc(failure.value)
    assert (type(error), error.message, error.field, error.retry_after_ms) == (
        QueueFull,
        "64 wait",
        "model",
        250,
    )


async def test_a_dead_server_ends_the_link(ends: Ends):
    async def handler(context):
        await asyncio.sleep(30)

    call = await ends.call(handler)
    running = asyncio.ensure_future(Link(call, SubmissionDraft()).run(lambda _frame: None))
    await asyncio.sleep(0.1)
    await ends.server.stop(0)
    with pytest.raises((LinkLost, grpc.aio.AioRpcError)):
        await running


def test_of_several_errors_at_once_the_most_telling_one_is_reported():
    status = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
    finished = asyncio.InvalidStateError("RPC already finished.")
    violation, fault = ProtocolViolation("gap"), ZeroDivisionError()
    assert _cause(BaseExceptionGroup("", [finished, BaseExceptionGroup("", [status])])) is status
    assert _cause(BaseExceptionGroup("", [LinkLost(), status, violation])) is violation
    assert isinstance(_cause(BaseExceptionGroup("", [finished])), LinkLost)
    group = BaseExceptionGroup("", [status, fault])
    assert _cause(group) is group


async def test_what_may_wait_goes_with_other_news_or_when_its_time_is_over(ends: Ends):
    patient = replace(PATIENT, frame_patience_ms=100, heartbeat_interval_ms=60_000)
    frames: list[tuple[int, bool]] = []

    async def handler(context):
        draft = AnswerDraft()
        link = Link(context, draft, limits=patient)

        def on_frame(frame):
            for submission in frame.submissions:
                draft.end(router_pb2.StreamEnded(stream=submission.stream))
                link.wake_later()
            if len(frame.submissions) == 2:  # somebody waits for the second
                link.wake()

        await link.run(on_frame)

    call = await ends.call(handler)
    draft = SubmissionDraft()
    link = Link(call, draft, limits=patient)
    began_s = asyncio.get_running_loop().time()

    def on_frame(frame):
        took_s = asyncio.get_running_loop().time() - began_s
        frames.append((len(frame.ended), took_s >= 0.1))
        if len(frames) == 1:
            draft.submit(request_to_wire(3, request(3)))
            link.wake()
        elif frame.ended:
            link.close()

    for i in (1, 2):
        draft.submit(request_to_wire(i, request(i)))
    link.wake()
    async with asyncio.timeout(20.0):
        await link.run(on_frame)
    assert [ended for ended, _ in frames if ended] == [2, 1]
    assert frames[-1][1], "the third had no company"
    assert link.acknowledged > 0
