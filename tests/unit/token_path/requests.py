"""A request's way through router and gateway without sockets: bytes in, bytes out."""

import asyncio
from array import array
from contextlib import AsyncExitStack
from hashlib import sha256
from itertools import count
from pathlib import Path as Directory
from types import TracebackType
from typing import Any, Self

import msgspec
from prometheus_client import CollectorRegistry

from pdmesh.fleet.v1 import fleet_pb2
from pdmesh.router.v1 import router_pb2
from services.common.domain import (
    Capacity,
    Fingerprint,
    FinishReason,
    HandoffAdopted,
    HandoffOffered,
    HandoffReleased,
    JobFinished,
    KvChange,
    Path,
    Receipt,
    Registration,
    Request,
    Role,
    Sampling,
    StepOutput,
    TokenColumns,
)
from services.common.domain.tokens import tokens
from services.common.limits import DEFAULTS
from services.common.rpc.columns import columns_to_wire
from services.common.rpc.convert import (
    receipt_to_wire,
    registration_to_wire,
    request_to_wire,
    wire_enum,
)
from services.common.rpc.frames import WorkerDraft
from services.gateway.gateway import Gateway
from services.gateway.http.connection import Connection
from services.gateway.settings import Settings
from services.router.core import CoreConfig, RouterCore
from services.router.core.events import GatewayAttached
from services.router.gateways import GatewayServicer
from services.router.metrics import Metrics as RouterMetrics
from services.router.poison import PoisonLog
from services.router.shell import GatewayPeer, Shell, WorkerPeer
from services.router.workers import WorkerServicer
from tests.unit.token_path.paths import StoppedClock

PROMPT_TOKENS, BLOCK_TOKENS = 500, 16
GATEWAY, PREFILL, DECODE = 1, 2, 3


def prompt_of(number: int) -> "array[int]":
    """No two begin alike."""
    return tokens((number + i * 7) % 500 + 5 for i in range(PROMPT_TOKENS))


class RouterRequests:
    """A router with a prefill and a decode worker, through which one gateway's requests go one by one."""

    def __init__(self, output_tokens: int) -> None:
        self._output_tokens = output_tokens
        self.shell = Shell(
            RouterCore(CoreConfig()), StoppedClock(), RouterMetrics(CollectorRegistry()), PoisonLog("")
        )
        self._worker_servicer = WorkerServicer(self.shell, "router", DEFAULTS)
        self._gateway_servicer = GatewayServicer(self.shell, "router", "0", DEFAULTS)
        self.gateway, self.workers = GatewayPeer(None), {n: WorkerPeer(None) for n in (PREFILL, DECODE)}
        self.shell.gateways[GATEWAY] = self.gateway
        self.shell.workers.update(self.workers)
        self.shell.feed(GatewayAttached(GATEWAY))
        self._sequences = {session: count(1) for session in (GATEWAY, PREFILL, DECODE)}
        self._register(PREFILL, Role.PREFILL)
        self._register(DECODE, Role.DECODE)
        self._sent = count(1)

    def _register(self, session: int, role: Role) -> None:
        prints = Fingerprint("m", "d", "bf16", "bf16", BLOCK_TOKENS, 1, "e", "1", "c")
        registration = Registration(f"w{session}", role, prints, Capacity(100_000, 1, 64, 8_192, 200_000))
        frame = fleet_pb2.AttachRequest(sequence=next(self._sequences[session]))
        frame.registration.CopyFrom(registration_to_wire(registration))
        self._from_worker(session, frame.SerializeToString())
        self.workers[session].draft.take(1, 1)
        self.gateway.draft.take(1, 1)

    def script(self, number: int) -> list[tuple[int, bytes]]:
        """All frames of one request that come to the router, each with the session that sends it."""
        prompt, handoff_id = prompt_of(number), f"h{number}"
        sampling = Sampling(self._output_tokens, temperature=0.7)
        submission = request_to_wire(number, Request(f"request-{number}", "m", prompt, sampling))
        submitted = router_pb2.ConnectRequest(
            sequence=next(self._sequences[GATEWAY]), submissions=[submission]
        )
        blocks = PROMPT_TOKENS // BLOCK_TOKENS
        offer = HandoffOffered(
            number, handoff_id, b"{}", PROMPT_TOKENS, blocks + 1, 1_000_000, 30_000, tokens([7])
        )
        names = tuple(sha256(f"{number}-{nth}".encode()).digest() for nth in range(blocks))
        stored = KvChange(names, token_ids=prompt[: blocks * BLOCK_TOKENS], block_size_tokens=BLOCK_TOKENS)
        news = [(PREFILL, StepOutput(offered=[offer], kv_changes=[stored]))]
        if self._output_tokens > 1:
            columns = TokenColumns()
            for token in range(1, self._output_tokens):
                columns.add(number, tokens([token]))
            end = JobFinished(number, FinishReason.LENGTH)
            news.append((DECODE, StepOutput(adopted=[HandoffAdopted(number, handoff_id, 1_000_000, 2.0)])))
            news.append((DECODE, StepOutput(tokens=columns, finished=[end])))
        news.append((PREFILL, StepOutput(released=[HandoffReleased(handoff_id)])))
        frames = [(who, self._frame(who, step)) for who, step in news]
        return [(GATEWAY, submitted.SerializeToString()), *frames]

    def _frame(self, session: int, step: StepOutput) -> bytes:
        draft = WorkerDraft()
        draft.add_step(step)
        return draft.take(next(self._sequences[session]), 0).SerializeToString()

    def play(self, script: list[tuple[int, bytes]]) -> list[bytes]:
        """Take such frames in; after each, what goes out."""
        sent: list[bytes] = []
        for session, data in script:
            if session == GATEWAY:
                frame = router_pb2.ConnectRequest.FromString(data)
                self._gateway_servicer._on_frame(GATEWAY, frame)
            else:
                self._from_worker(session, data)
            for peer in (self.gateway, *self.workers.values()):
                if not peer.draft.is_empty():
                    sent.append(peer.draft.take(next(self._sent), 1).SerializeToString())
        return sent

    def _from_worker(self, session: int, data: bytes) -> None:
        frame = fleet_pb2.AttachRequest.FromString(data)
        self._worker_servicer._on_frame(session, self.workers[session], frame)


class _Transport:
    """Where a connection writes."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.write = self.written.append

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing is buffered."""

    def get_extra_info(self, _name: str) -> None:
        """There is no socket."""

    def is_closing(self) -> bool:
        """Never."""
        return False


class GatewayRequests:
    """A whole gateway but for its sockets, with one client's connection and one router's link."""

    def __init__(self, model: Directory) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        settings = Settings(model=str(model), router=("127.0.0.1:1",))
        self.gateway = Gateway(settings, DEFAULTS, CollectorRegistry())
        self.gateway._metrics.answers.timed_every = 1_000_000  # the one in sixteen would be another each time

    def __enter__(self) -> Self:
        self._runner.run(self._open())
        (self._session,) = self.gateway._session._sessions
        self._on_frame(
            router_pb2.ConnectResponse(
                greeting=router_pb2.RouterGreeting(router_id="r"),
                models=router_pb2.ModelList(models=[router_pb2.Model(name="m", max_model_len=8_192)]),
            )
        )
        self.connection, self._transport = Connection(self.gateway._server), _Transport()
        transport: Any = self._transport
        self.connection.connection_made(transport)
        self.body = msgspec.json.encode(
            {"model": "m", "prompt": prompt_of(1).tolist(), "max_tokens": 1, "stream": True}
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.connection_lost(None)
        self._runner.run(self._stack.aclose())
        self._runner.close()

    async def _open(self) -> None:
        await self.gateway.open(self._stack)

    def _on_frame(self, frame: router_pb2.ConnectResponse) -> None:
        self._session._on_frame(frame)

    def question(self) -> bytes:
        """What a client sends."""
        return self._post("/v1/completions", self.body)

    def chat(self, number: int) -> bytes:
        """A conversation instead of token ids; no two of 500 words are alike."""
        content = " ".join(f"word{number + i * 7}" for i in range(PROMPT_TOKENS))
        messages = [{"role": "user", "content": content}]
        body = {"model": "m", "messages": messages, "max_tokens": 1, "stream": True}
        return self._post("/v1/chat/completions", msgspec.json.encode(body))

    def _post(self, path: str, body: bytes) -> bytes:
        head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:8000\r\naccept: */*\r\nuser-agent: client\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def answers(self, number: int) -> list[bytes]:
        """What the router answers to the next so many requests, each in one frame."""
        first = self._session._open._last_number + 1
        return [self._answer(stream).SerializeToString() for stream in range(first, first + number)]

    def _answer(self, stream: int) -> router_pb2.ConnectResponse:
        columns = TokenColumns()
        columns.add(stream, tokens([70]))
        path = wire_enum(Path.DISAGGREGATED)
        where = {"path": path, "path_reason": "long_prompt", "prefill_worker": "w2", "decode_worker": "w3"}
        receipt = Receipt(f"request-{stream}", Path.DISAGGREGATED, "long_prompt", "w2", "w3", PROMPT_TOKENS)
        receipt.generated_tokens, receipt.prefill_ms, receipt.model = 1, 12.345678, "m"
        return router_pb2.ConnectResponse(
            placed=[router_pb2.StreamPlaced(stream=stream, **where)],
            tokens=columns_to_wire(columns),
            ended=[
                router_pb2.StreamEnded(
                    stream=stream, reason=wire_enum(FinishReason.LENGTH), receipt=receipt_to_wire(receipt)
                )
            ],
        )

    def play(self, question: bytes, answer: bytes) -> tuple[bytes, bytes]:
        """One request and its answer; what goes to the router and what to the client."""
        self._transport.written.clear()
        self.connection.data_received(question)
        asked = self._session._draft.take(1, 0).SerializeToString()
        self._on_frame(router_pb2.ConnectResponse.FromString(answer))
        return asked, b"".join(self._transport.written)
