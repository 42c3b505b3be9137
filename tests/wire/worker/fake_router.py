"""A router that only remembers what workers tell it, over real gRPC."""

import asyncio
from array import array
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pdmesh.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from services.common.domain import (
    Grant,
    HandoffOffered,
    HandoffTicket,
    Job,
    JobKind,
    KvChange,
    LoadReport,
    Sampling,
    StepOutput,
    Want,
)
from services.common.domain.tokens import to_bytes, tokens
from services.common.errors import MeshError, RegistrationRefused
from services.common.rpc import Link, LinkLost, RpcServer, abort_with
from services.common.rpc.convert import (
    grant_from_wire,
    job_to_wire,
    load_from_wire,
    registration_from_wire,
    want_to_wire,
)
from services.common.rpc.frames import CommandDraft
from services.common.rpc.steps import step_from_wire

WAIT_S = 20.0


class RawDraft(CommandDraft):
    """A draft that can also send a frame as it is given, right or wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.raw: list[fleet_pb2.AttachResponse] = []

    def take(self, sequence: int, acknowledged: int) -> fleet_pb2.AttachResponse:
        if not self.raw:
            return super().take(sequence, acknowledged)
        frame = self.raw.pop(0)
        frame.sequence = frame.sequence or sequence
        frame.acknowledged = acknowledged
        return frame

    def is_empty(self) -> bool:
        return not self.raw and super().is_empty()


class WorkerSession:
    """One worker's attachment, seen from the router."""

    def __init__(self, context: Any) -> None:
        self.draft = RawDraft()
        self.link: Link[Any, Any] = Link(context, self.draft)
        self.registration: Any = None
        self.tokens: dict[int, array[int]] = defaultdict(tokens)
        self.offered: dict[int, HandoffOffered] = {}
        self.adopted: dict[int, Any] = {}
        self.finished: dict[int, Any] = {}
        self.failed: dict[int, Any] = {}
        self.released: list[Any] = []
        self.kv_changes: list[KvChange] = []
        self.load: LoadReport | None = None
        self.grant: Grant | None = None
        self.draining = False
        self.ended = False
        self.token_frames = 0
        self.changed = asyncio.Event()

    def on_frame(self, frame: fleet_pb2.AttachRequest) -> None:
        if frame.sequence == 1:
            self.registration = registration_from_wire(frame.registration)
        step = step_from_wire(frame) or StepOutput()
        self.offered |= {n.stream: n for n in step.offered}
        self.adopted |= {n.stream: n for n in step.adopted}
        start = 0
        for stream, count in zip(step.tokens.streams, step.tokens.counts, strict=True):
            assert not self.has_ended(stream), "tokens after the end"
            self.tokens[stream].extend(step.tokens.token_ids[start : start + count])
            start += count
        self.token_frames += bool(start)
        for end in (*step.finished, *step.failed):
            assert not self.has_ended(end.stream), "two ends"
        self.finished |= {n.stream: n for n in step.finished}
        self.failed |= {n.stream: n for n in step.failed}
        self.released += step.released
        self.kv_changes += step.kv_changes
        self.load = load_from_wire(frame.load) if frame.HasField("load") else self.load
        self.grant = grant_from_wire(frame.grant) if frame.HasField("grant") else self.grant
        self.draining = self.draining or frame.draining
        self.changed.set()

    def has_ended(self, stream: int) -> bool:
        return stream in self.finished or stream in self.failed

    def send(self, *jobs: Job) -> None:
        for job in jobs:
            self.draft.add_job(job_to_wire(job))
        self.link.wake()

    def abort(self, *streams: int) -> None:
        for stream in streams:
            self.draft.abort(stream)
        self.link.wake()

    def release(self, handoff_id: str) -> None:
        self.draft.release(handoff_id)
        self.link.wake()

    def want(self, want: Want) -> None:
        self.send_raw(fleet_pb2.AttachResponse(want=want_to_wire(want)))

    def send_raw(self, frame: fleet_pb2.AttachResponse) -> None:
        self.draft.raw.append(frame)
        self.link.wake()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def ends(self, *streams: int) -> None:
        await self.until(lambda: all(map(self.has_ended, streams)))


class FakeRouter(fleet_pb2_grpc.FleetServiceServicer):
    """Accepts every worker, or none."""

    def __init__(self) -> None:
        self.refuse_with: MeshError | None = None
        self.sessions: asyncio.Queue[WorkerSession] = asyncio.Queue()
        self.address = ""

    async def Attach(self, _requests: Any, context: Any) -> None:  # noqa: N802
        if self.refuse_with is not None:
            await abort_with(context, self.refuse_with)
        session = WorkerSession(context)

        def on_frame(frame: fleet_pb2.AttachRequest) -> None:
            session.on_frame(frame)
            if frame.sequence == 1:
                session.draft.greet(fleet_pb2.FleetGreeting(router_id="fake", load_interval_ms=20))
                session.link.wake()
                self.sessions.put_nowait(session)

        try:
            await session.link.run(on_frame)
        except LinkLost:
            pass
        finally:
            session.ended = True
            session.changed.set()

    async def attached(self) -> WorkerSession:
        async with asyncio.timeout(WAIT_S):
            return await self.sessions.get()


@asynccontextmanager
async def fake_router(port: int = 0) -> AsyncIterator[FakeRouter]:
    """A listening router; leaving the context cuts every stream at once."""
    router = FakeRouter()
    server = RpcServer(["pdmesh.fleet.v1.FleetService"])
    fleet_pb2_grpc.add_FleetServiceServicer_to_server(router, server.server)
    router.address = f"127.0.0.1:{await server.start('127.0.0.1', port)}"
    try:
        yield router
    finally:
        await server.stop(grace_ms=0)


def job(
    stream: int, kind: JobKind = JobKind.LOCAL, *, prompt: int = 0, length: int = 10, max_tokens: int = 20
) -> Job:
    """A job whose prompt is fixed by `prompt` (the stream, when 0) and its length."""
    start = (prompt or stream) * 1_000
    return Job(
        stream,
        kind,
        f"request-{stream}",
        tokens(range(start, start + length)),
        Sampling(max_tokens=max_tokens),
    )


def adoption_of(offered: HandoffOffered, prefill: Job, stream: int) -> Job:
    """The ADOPT job that follows an offer."""
    ticket = HandoffTicket(
        offered.handoff_id, "prefill-1", offered.connector_params, offered.kv_tokens, 10_000
    )
    delivered = prefill.delivered + offered.token_ids
    return Job(
        stream, JobKind.ADOPT, prefill.request_id, prefill.prompt, prefill.sampling, delivered, handoff=ticket
    )


def aborted_column(streams: list[int]) -> bytes:
    return to_bytes(tokens(streams))


REFUSAL = RegistrationRefused("block_size_tokens: 16 != 32")
