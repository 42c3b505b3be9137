"""A gateway in a test: requests to the router in token ids, answers in token ids."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from pdmesh.router.v1 import router_pb2, router_pb2_grpc
from services.common.credentials import Security
from services.common.domain import FinishReason, Receipt, Request, Sampling
from services.common.domain.tokens import tokens
from services.common.errors import MeshError, RouterUnavailable
from services.common.rpc import Link, open_channel
from services.common.rpc.columns import columns_from_wire
from services.common.rpc.convert import error_from_wire, receipt_from_wire, request_to_wire
from services.common.rpc.frames import SubmissionDraft


@dataclass
class Stream:
    """One request's answer so far."""

    ids: list[int] = field(default_factory=list)
    chosen: list[float] = field(default_factory=list)
    """Logprobs of the ids, if asked for."""
    reason: FinishReason | None = None
    receipt: Receipt | None = None
    error: MeshError | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class TokenClient:
    """Submits prompts over one link."""

    def __init__(self, draft: SubmissionDraft, wake: Callable[[], None], model: str) -> None:
        self._draft, self._wake, self._model = draft, wake, model
        self.streams: dict[int, Stream] = {}

    def submit(self, prompt: list[int], sampling: Sampling, lora: str = "") -> Stream:
        """Submit one prompt."""
        number = len(self.streams) + 1
        stream = self.streams[number] = Stream()
        request = Request(f"e2e-{number}", self._model, tokens(prompt), sampling, lora=lora)
        self._draft.submit(request_to_wire(number, request))
        self._wake()
        return stream

    async def answer(self, prompt: list[int], sampling: Sampling, lora: str = "") -> Stream:
        """One prompt's whole answer."""
        stream = self.submit(prompt, sampling, lora)
        await stream.ended.wait()
        return stream

    def on_frame(self, frame: router_pb2.ConnectResponse) -> None:
        """Take tokens and ends in."""
        columns, begin = columns_from_wire(frame.tokens), 0
        for number, count in zip(columns.streams, columns.counts, strict=True):
            self.streams[number].ids.extend(columns.token_ids[begin : begin + count])
            begin += count
        told = columns.logprobs.by_stream() if columns.logprobs is not None else {}
        for number, those in told.items():
            self.streams[number].chosen.extend(those.chosen)
        for ended in frame.ended:
            stream = self.streams[ended.stream]
            assert not stream.ended.is_set(), "a second outcome"
            stream.reason = FinishReason(ended.reason)
            stream.receipt = receipt_from_wire(ended.receipt)
            stream.error = error_from_wire(ended.error) if ended.HasField("error") else None
            stream.ended.set()

    async def run(self, link: "Link[router_pb2.ConnectResponse, router_pb2.ConnectRequest]") -> None:
        """Until the link ends; what has not ended by then has failed with it."""
        try:
            await link.run(self.on_frame)
        finally:
            for stream in self.streams.values():
                if not stream.ended.is_set():
                    stream.error = RouterUnavailable("the link was lost")
                    stream.ended.set()


@contextlib.asynccontextmanager
async def connected(address: str, model: str, security: Security) -> AsyncIterator[TokenClient]:
    """A client of the router at HOST:PORT."""
    channel, draft = open_channel(address), SubmissionDraft()
    draft.greet(router_pb2.GatewayGreeting(gateway_id="e2e", version="test"))
    call = router_pb2_grpc.RouterServiceStub(channel).Connect(metadata=security.metadata)
    link: Link[router_pb2.ConnectResponse, router_pb2.ConnectRequest] = Link(call, draft)
    client = TokenClient(draft, link.wake, model)
    try:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(client.run(link))
            yield client
            running.cancel()
    finally:
        call.cancel()
        await channel.close()
