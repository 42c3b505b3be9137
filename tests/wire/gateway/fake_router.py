"""A router that does what the test says: a real gRPC server with a scripted servicer."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pdmesh.router.v1 import router_pb2, router_pb2_grpc
from pdmesh.types.v1 import types_pb2
from services.common.domain import Request, TokenColumns, TokenLogprobs
from services.common.domain.tokens import from_bytes, tokens
from services.common.errors import MeshError
from services.common.rpc import Link, LinkLost, RpcServer
from services.common.rpc.columns import floats_to_bytes
from services.common.rpc.convert import error_to_wire, request_from_wire
from services.common.rpc.frames import AnswerDraft

MODEL = router_pb2.Model(name="tiny", max_model_len=400, prefill_workers=1, decode_workers=1)


@dataclass(eq=False)
class Session:
    """One gateway's connection."""

    draft: AnswerDraft
    link: Link


@dataclass(eq=False)
class Job:
    """One request as the router got it."""

    session: Session
    stream: int
    request: Request
    is_cancelled: bool = False
    is_placed: bool = False
    """Whether a worker has it; told by `place`, by its tokens, or by a receipt alone."""
    sent: "array[int]" = field(default_factory=tokens)

    def place(self) -> None:
        """Say where it runs."""
        self.is_placed = True
        self.session.draft.place(
            router_pb2.StreamPlaced(
                stream=self.stream,
                path=types_pb2.PATH_DISAGGREGATED,
                path_reason="long_prompt",
                prefill_worker="prefill-1",
                decode_worker="decode-1",
            )
        )

    def send(self, ids: Iterable[int], logprobs: TokenLogprobs | None = None) -> None:
        """Send tokens, as one frame if the link is idle."""
        self.is_placed = True
        columns = TokenColumns()
        columns.add(self.stream, tokens(ids))
        if logprobs is not None:
            columns.add_logprobs(self.stream, logprobs)
        self.sent.extend(columns.token_ids)
        self.session.draft.add_columns(columns)
        self.session.link.wake()

    def end(
        self,
        reason: int = types_pb2.FINISH_REASON_STOP,
        error: MeshError | None = None,
        vector: "array[float] | None" = None,
        path_reason: str = "long_prompt",
    ) -> None:
        """Send the outcome; with another reason the text ran on the local path in the end. One that was never
        placed has a receipt without a path and workers."""
        is_placed = self.is_placed or reason != types_pb2.FINISH_REASON_CANCELLED
        path = types_pb2.PATH_DISAGGREGATED if path_reason == "long_prompt" else types_pb2.PATH_LOCAL
        receipt = types_pb2.Receipt(
            request_id=self.request.request_id,
            path=path if is_placed else types_pb2.PATH_UNSPECIFIED,
            path_reason=path_reason,
            prefill_worker="prefill-1" if is_placed else "",
            decode_worker="decode-1" if is_placed else "",
            prompt_tokens=len(self.request.prompt),
            cached_tokens=3 if is_placed else 0,
            generated_tokens=len(self.sent),
            kv_size_bytes=4096,
            queue_ms=1.25,
        )
        ended = router_pb2.StreamEnded(stream=self.stream, reason=reason, receipt=receipt)
        if vector is not None:
            ended.vector = floats_to_bytes(vector)
        if error is not None:
            ended.reason = types_pb2.FINISH_REASON_ERROR
            ended.error.CopyFrom(error_to_wire(error))
        self.session.draft.end(ended)
        self.session.link.wake()


class FakeRouter(router_pb2_grpc.RouterServiceServicer):
    """Calls `script` for every submission; `jobs` keeps them all."""

    def __init__(self) -> None:
        self.script: Callable[[Job], None] = lambda job: None
        self.models = [MODEL]
        self.jobs: list[Job] = []
        self.sessions: list[Session] = []
        self._open: dict[tuple[Session, int], Job] = {}

    async def Connect(self, _requests, context) -> None:  # noqa: N802
        """Serve one gateway."""
        draft = AnswerDraft()
        session = Session(draft, Link(context, draft))
        draft.greet(router_pb2.RouterGreeting(router_id="fake", version="test"))
        draft.set_models(router_pb2.ModelList(models=self.models))
        self.sessions.append(session)
        session.link.wake()
        try:
            await session.link.run(lambda frame: self._on_frame(session, frame))
        except LinkLost:
            pass
        finally:
            self.sessions.remove(session)

    def _on_frame(self, session: Session, frame: router_pb2.ConnectRequest) -> None:
        for submission in frame.submissions:
            job = Job(session, submission.stream, request_from_wire(submission))
            self.jobs.append(job)
            self._open[session, job.stream] = job
            self.script(job)
        for stream in from_bytes(frame.cancelled_streams):
            job = self._open[session, stream]
            job.is_cancelled = True
            job.end(types_pb2.FINISH_REASON_CANCELLED)

    async def job(self, number: int = 1) -> Job:
        """The job of that number, once it has come."""
        while len(self.jobs) < number:
            await asyncio.sleep(0.005)
        return self.jobs[number - 1]


@asynccontextmanager
async def running_router(router: FakeRouter, port: int = 0) -> AsyncIterator[int]:
    """Serve a router on a port while the block runs."""
    server = RpcServer(["pdmesh.router.v1.RouterService"])
    router_pb2_grpc.add_RouterServiceServicer_to_server(router, server.server)
    bound = await server.start("127.0.0.1", port)
    try:
        yield bound
    finally:
        await server.stop(0)
