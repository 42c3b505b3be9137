"""The gateway's stream to one router: requests out, tokens in."""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Mapping, Sequence

import grpc.aio

from pdmesh.router.v1 import router_pb2
from services.common.clock import Clock, MonotonicClock
from services.common.credentials import OPEN, Security
from services.common.domain import EmbeddingModel, FinishReason, Path, Receipt
from services.common.errors import Cancelled, MeshError
from services.common.limits import DEFAULTS, Limits
from services.common.rpc import Link, LinkLost, error_from_rpc
from services.common.rpc.columns import columns_from_wire
from services.common.rpc.convert import (
    error_from_wire,
    finish_reason_from_wire,
    receipt_from_wire,
    request_to_wire,
)
from services.common.rpc.embedding import model_from_wire, vector_from_wire
from services.common.rpc.frames import SubmissionDraft
from services.common.rpc.lane import CONNECT, open_stream
from services.common.rpc.token_frame import TokenFrame
from services.gateway.links.session import END_REASONS, OpenStreams
from services.gateway.links.streams import LiveStream, Placement

BACKOFF_MS = (50.0, 2_000.0)
"""First and longest pause between attempts to connect; doubled each time, jittered."""
_log = logging.getLogger(__name__)


class RouterSession:
    """The link to one router; `run` keeps it connected until cancelled.

    What was in flight when the router is lost goes to `on_orphans`, all but what has ended by then.
    """

    def __init__(
        self,
        address: str,
        greeting: router_pb2.GatewayGreeting,
        *,
        limits: Limits = DEFAULTS,
        clock: Clock | None = None,
        security: Security = OPEN,
        on_change: Callable[[], None] = lambda: None,
        on_orphans: Callable[[Sequence[LiveStream]], None] = lambda _: None,
    ) -> None:
        self.model_lens: Mapping[str, int] = {}
        """Longest prompt and answer together, in tokens, by the name of each model served."""
        self.adapters: Mapping[str, Sequence[str]] = {}
        """Names of the LoRA adapters that each model is served with."""
        self.embedding_models: Mapping[str, EmbeddingModel] = {}
        """Those models that give vectors instead of text, by name."""
        self.limit_thinking: Collection[str] = ()
        """Names of models whose workers keep a budget of reasoning tokens."""
        self._address = address
        self._greeting = greeting
        self._limits = limits
        self._clock = clock or MonotonicClock()
        self._security = security
        self._on_change, self._on_orphans = on_change, on_orphans
        self._open = OpenStreams(self.cancel)
        self._draft = SubmissionDraft()
        self._link: Link[router_pb2.ConnectResponse, router_pb2.ConnectRequest] | None = None
        self._is_attached = self._is_leaving = False
        self._failures = 0

    @property
    def is_open(self) -> bool:
        """Whether the router takes requests: it has greeted us, and is not about to leave."""
        return self._is_attached and not self._is_leaving

    @property
    def stream_count(self) -> int:
        """Requests in flight here."""
        return len(self._open)

    def send(self, live: LiveStream) -> None:
        """Submit a stream, with what its client already has."""
        request = live.resumed_request(self._clock.now_ms())
        self._open.enter(live)
        try:
            wire = request_to_wire(live.number, request)
        except Exception:
            self._open.take(live.number)
            raise
        self._draft.submit(wire)
        self._wake()

    def cancel(self, live: LiveStream) -> bool:
        """Tell the router that nobody wants the rest; False when the stream is not here.

        The end is still reported; tokens are not.
        """
        if not self._open.has(live):
            return False
        if not live.is_cancelled:
            live.is_cancelled = True
            self._draft.cancel(live.number)
            self._wake()
        return True

    async def run(self) -> None:
        """Connect, exchange frames, connect again; until cancelled."""
        while True:
            address = self._address
            try:
                await self._connect(address)
            except LinkLost as lost:
                _log.warning("router %s lost: %s", address, lost)
            except grpc.aio.AioRpcError as failure:
                _log.warning("router %s: %s", address, error_from_rpc(failure).message)
            except MeshError as error:
                _log.error("router %s: %s", address, error.message)
            _raise_if_cancelled()
            await self._pause()

    async def _connect(self, address: str) -> None:
        """One connection, until it is lost; the finally block leaves nothing of it."""
        async with open_stream(address, CONNECT, self._limits, self._security) as call:
            self._draft = SubmissionDraft()
            self._draft.greet(self._greeting)
            self._link = Link(call, self._draft, limits=self._limits, clock=self._clock)
            try:
                self._link.wake()
                await self._link.run(self._on_frame, self._on_token_frame)
            finally:
                self._detach()

    async def _pause(self) -> None:
        least, most = BACKOFF_MS
        pause_ms = min(most, least * 2.0 ** min(self._failures, 16)) * random.uniform(0.5, 1.0)
        self._failures += 1
        await asyncio.sleep(pause_ms / 1000.0)

    def _wake(self) -> None:
        if self._link is not None:
            self._link.wake()

    # In.

    def _on_frame(self, frame: router_pb2.ConnectResponse) -> None:
        if frame.HasField("greeting"):
            self._attach(frame.greeting)
        if frame.leaving and not self._is_leaving:
            self._is_leaving = True
            self._on_change()
        if frame.HasField("models"):
            self.model_lens = {model.name: model.max_model_len for model in frame.models.models}
            self.adapters = {model.name: tuple(model.adapters) for model in frame.models.models}
            self.limit_thinking = {model.name for model in frame.models.models if model.limits_thinking}
            self.embedding_models = {
                model.name: model_from_wire(model.embedding_model)
                for model in frame.models.models
                if model.HasField("embedding_model")
            }
            self._on_change()
        for placed in frame.placed:
            self._on_placed(placed)
        if frame.HasField("tokens"):
            self._open.columns(columns_from_wire(frame.tokens))
        for ended in frame.ended:
            self._on_ended(ended)

    def _on_placed(self, placed: router_pb2.StreamPlaced) -> None:
        if placed.path:
            path, reason = Path(placed.path), placed.path_reason
            placement = Placement(path, reason, placed.prefill_worker, placed.decode_worker)
            self._open.placed(placed.stream, placement)

    def _on_token_frame(self, frame: TokenFrame) -> None:
        self._open.token_each(frame.streams, frame.token_ids)

    def _on_ended(self, ended: router_pb2.StreamEnded) -> None:
        live = self._open.take(ended.stream)
        if live is None:
            return
        reason = finish_reason_from_wire(ended.reason)
        if reason in END_REASONS:
            self._open.end(live, reason, receipt_from_wire(ended.receipt), vector_from_wire(ended.vector))
        else:
            self._open.fail(live, error_from_wire(ended.error), receipt_from_wire(ended.receipt))

    # Loss and return of the router.

    def _attach(self, greeting: router_pb2.RouterGreeting) -> None:
        _log.info("router %s attached, version %s", greeting.router_id, greeting.version)
        self._is_attached = True
        self._failures = 0
        self._on_change()

    def _detach(self) -> None:
        self._is_attached = self._is_leaving = False
        self._link = None
        self.model_lens, self.adapters, self.embedding_models = {}, {}, {}
        self.limit_thinking = ()
        self._on_change()  # first: whoever is told of an end below may ask for something new
        for live in self._open.all():
            self._settle_or_keep(live)
        self._on_orphans(self._open.take_all())

    def _settle_or_keep(self, live: LiveStream) -> None:
        """End what need not go on elsewhere. Whether it can, the next router knows."""
        if live.is_cancelled and self._open.take(live.number):
            self._open.fail(live, Cancelled())
        elif live.is_complete() and self._open.take(live.number):
            at_length = len(live.delivered) >= live.request.sampling.max_tokens
            reason = FinishReason.LENGTH if at_length else FinishReason.STOP
            self._open.end(live, reason, _bare_receipt(live))


def _raise_if_cancelled() -> None:
    """A task group that is cancelled while one of its tasks fails reports the failure alone."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _bare_receipt(live: LiveStream) -> Receipt:
    return Receipt(
        request_id=live.request.request_id,
        prompt_tokens=len(live.request.prompt),
        generated_tokens=len(live.delivered),
    )
