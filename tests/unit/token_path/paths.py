"""The two halves of a token's way without sockets: bytes of an engine step in, bytes for clients out."""

from itertools import count
from typing import Any

from prometheus_client import CollectorRegistry

from pdmesh.fleet.v1 import fleet_pb2
from pdmesh.router.v1 import router_pb2
from services.common.domain import (
    Capacity,
    Fingerprint,
    Registration,
    Request,
    Role,
    Sampling,
    StepOutput,
    TokenColumns,
)
from services.common.domain.tokens import tokens
from services.common.limits import DEFAULTS
from services.common.rpc.convert import registration_to_wire, request_to_wire
from services.common.rpc.frames import WorkerDraft
from services.common.rpc.lane.stream import Stream
from services.common.rpc.link import Link
from services.common.rpc.token_frame import TokenFrame
from services.gateway.call.answer import Answer
from services.gateway.call.call import Call
from services.gateway.call.parts import Route, Unlimited, Unmetered
from services.gateway.call.prepared import Prepared
from services.gateway.call.transcripts.plain import BareTranscript
from services.gateway.call.writers import Opening
from services.gateway.http import Exchange
from services.gateway.http.message import HttpRequest
from services.gateway.http.no_client import NoClient
from services.gateway.links.router_session import RouterSession
from services.gateway.links.streams import LiveStream
from services.gateway.metrics import Metrics as GatewayMetrics
from services.gateway.models.rendering import Renderer
from services.gateway.rest.openai.completion import parse_completion
from services.gateway.rest.openai.completion_format import CompletionFormat
from services.gateway.rest.writers.streamed import StreamedWriter
from services.router.core import CoreConfig, RouterCore
from services.router.core.events import GatewayAttached
from services.router.gateways import GatewayServicer
from services.router.metrics import Metrics as RouterMetrics
from services.router.poison import PoisonLog
from services.router.shell import GatewayPeer, Shell, WorkerPeer
from services.router.workers import WorkerServicer

GATEWAY, WORKER = 1, 2
PROMPT = tokens(range(5, 25))
BODY = b'{"model": "m", "prompt": "x", "max_tokens": 100000, "stream": true}'


class StoppedClock:
    """No time passes."""

    def now_ms(self) -> float:
        """Always the same."""
        return 1_000.0


class SteadyClock:
    """So much time passes between two looks that no token has to wait for more."""

    def __init__(self) -> None:
        self._looks = count()

    def now_ms(self) -> float:
        """A second later each time."""
        return next(self._looks) * 1_000.0


class Wire:
    """A transport that keeps what is written last."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written = data


def lane_to(wire: Any) -> Stream:
    """The end of a lane whose other end knows token frames."""
    lane = Stream(DEFAULTS.frame_size_bytes_max)
    lane.takes_token_frames = True
    lane.connection_made(wire)
    return lane


class RouterPath:
    """A router with one worker, on which so many requests of one gateway run."""

    def __init__(self, streams: int) -> None:
        self.shell = Shell(
            RouterCore(CoreConfig()), StoppedClock(), RouterMetrics(CollectorRegistry()), PoisonLog("")
        )
        self._workers = WorkerServicer(self.shell, "router", DEFAULTS)
        self._gateways = GatewayServicer(self.shell, "router", "0", DEFAULTS)
        self.gateway, self.worker = GatewayPeer(None), WorkerPeer(None)
        self.wire = Wire()
        self.gateway.link = Link(None, self.gateway.draft, clock=SteadyClock())
        self.shell.gateways[GATEWAY], self.shell.workers[WORKER] = self.gateway, self.worker
        self.shell.feed(GatewayAttached(GATEWAY))
        self._sequence = count(1)
        self._register(streams)
        self.worker.draft.take(1, 1)
        self._submit(streams)
        self.jobs = [job.stream for job in self.worker.draft.take(2, 1).jobs]
        self.step(self.frame())
        self.gateway.draft.take(1, 1)
        self.gateway.link._lane = lane_to(self.wire)

    def _register(self, streams: int) -> None:
        prints = Fingerprint("m", "d", "bf16", "bf16", 16, 1, "e", "1", "c")
        capacity = Capacity(1_000_000, streams * 10, streams, 8_192, 200_000)
        frame = fleet_pb2.AttachRequest(sequence=next(self._sequence))
        frame.registration.CopyFrom(registration_to_wire(Registration("w", Role.DECODE, prints, capacity)))
        self._workers._on_frame(WORKER, self.worker, frame)

    def _submit(self, streams: int) -> None:
        requests = [Request(f"r{n}", "m", PROMPT, Sampling(100_000)) for n in range(1, streams + 1)]
        submissions = [request_to_wire(n, request) for n, request in enumerate(requests, 1)]
        self._gateways._on_frame(GATEWAY, router_pb2.ConnectRequest(sequence=1, submissions=submissions))

    def frame(self) -> bytes:
        """What a worker sends after a step that gave every stream a token."""
        draft, columns = WorkerDraft(), TokenColumns()
        for stream in self.jobs:
            columns.add(stream, tokens([100 + stream]))
        draft.add_step(StepOutput(tokens=columns))
        taken = draft.take_tokens(next(self._sequence), 0)
        assert taken is not None
        return taken.encode()

    def step(self, data: bytes) -> bytes:
        """Take such a frame in; what goes to the gateway."""
        self.wire.written = b""
        self._workers._on_tokens(WORKER, self.worker, TokenFrame.decode(data))
        return self.wire.written


class GatewayPath:
    """A gateway that streams so many plain answers."""

    def __init__(self, streams: int, renderer: Renderer) -> None:
        self.written: list[bytes] = []
        self._renderer, self._clock = renderer, StoppedClock()
        self._token = renderer.text("a")
        self._metrics = GatewayMetrics(CollectorRegistry())
        self._session = RouterSession("127.0.0.1:1", router_pb2.GatewayGreeting())
        self._lives = [self._open(number) for number in range(streams)]
        self.step(self.frame())
        self.written.clear()

    def _open(self, number: int) -> LiveStream:
        client: Any = NoClient()
        client.send = self.written.append
        request = HttpRequest("POST", "/v1/completions", {}, BODY, True, True, received_ms=0.0)
        exchange = Exchange(request, client)
        call = Call(f"r{number}", parse_completion(BODY, DEFAULTS), received_ms=0.0)
        writer = StreamedWriter(exchange, call, CompletionFormat, self._clock, DEFAULTS)
        prepared = Prepared([PROMPT], call.generation.sampling, None, (), {})
        answer = Answer(
            call, Route("m", "m"), prepared, writer, Unlimited(), Unmetered(), self._metrics, self._clock
        )
        choice = answer.add_choice(BareTranscript(self._renderer.open_detokenizer()))
        opening = Opening(
            model="m",
            created_s=0,
            prompts=[PROMPT],
            headers=(),
            generated_tokens=answer.generated_tokens,
            cancel=answer.on_gone,
        )
        writer.open(opening)
        live = LiveStream(0, Request(f"r{number}", "m", PROMPT, Sampling(100_000)), choice, frozenset())
        self._session.send(live)
        return live

    def frame(self) -> bytes:
        """What a router sends after a step that gave every stream a token."""
        numbers = tokens(live.number for live in self._lives)
        return TokenFrame(1, 1, numbers, self._token * len(numbers)).encode()

    def step(self, data: bytes) -> None:
        """Take such a frame in."""
        self._session._on_token_frame(TokenFrame.decode(data))
