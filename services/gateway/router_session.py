"""The gateway's stream to one router: requests out, tokens in."""

import asyncio
import logging
import random
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import grpc.aio

from pdmesh.router.v1 import router_pb2
from services.common.clock import Clock, MonotonicClock
from services.common.credentials import OPEN, Security
from services.common.domain import EmbeddingModel, FinishReason, Path, Receipt, TokenColumns
from services.common.errors import Cancelled, Internal, MeshError
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
from services.gateway.streams import LiveStream, Placement

BACKOFF_MS = (50.0, 2_000.0)
"""First and longest pause between attempts to connect; doubled each time, jittered."""
_log = logging.getLogger(__name__)
_END_REASONS = (FinishReason.STOP, FinishReason.LENGTH, FinishReason.CANCELLED)


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
        self._streams: dict[int, LiveStream] = {}
        self._last_number = 0
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
        return len(self._streams)

    def send(self, live: LiveStream) -> None:
        """Submit a stream, with what its client already has."""
        request = live.resumed_request()
        self._last_number += 1
        live.number = self._last_number
        self._streams[live.number] = live
        self._draft.submit(request_to_wire(live.number, request))
        self._wake()

    def cancel(self, live: LiveStream) -> bool:
        """Tell the router that nobody wants the rest; False when the stream is not here.

        The end is still reported; tokens are not.
        """
        if self._streams.get(live.number) is not live:
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
            self._on_columns(columns_from_wire(frame.tokens))
        for ended in frame.ended:
            self._on_ended(ended)

    def _on_placed(self, placed: router_pb2.StreamPlaced) -> None:
        live = self._streams.get(placed.stream)
        if live is not None and placed.path:
            path = Path(placed.path)
            self._tell(
                live,
                lambda: live.sink.on_placed(
                    Placement(path, placed.path_reason, placed.prefill_worker, placed.decode_worker)
                ),
            )

    def _on_token_frame(self, frame: TokenFrame) -> None:
        numbers = frame.streams
        if len(set(numbers)) == len(numbers):
            self._on_one_each(numbers, frame.token_ids)
        else:
            self._on_several(frame.columns())

    def _on_one_each(self, numbers: "array[int]", token_ids: "array[int]") -> None:
        """The hot path: per stream, one look-up and one call."""
        streams = self._streams
        for number, token_id in zip(numbers, token_ids, strict=True):
            live = streams.get(number)
            if live is None or live.is_cancelled:
                continue
            live.delivered.append(token_id)
            try:
                live.sink.on_token(token_id)
            except Exception:  # one answer's fault must not end the session that carries them all
                self._break(live)

    def _on_columns(self, columns: TokenColumns) -> None:
        if columns.is_one_each() and _are_distinct(columns.streams):
            self._on_one_each(columns.streams, columns.token_ids)
        else:
            self._on_several(columns)

    def _on_several(self, columns: TokenColumns) -> None:
        """Any number of tokens, with logprobs; what a frame has for one stream is one write."""
        streams = self._streams
        described = columns.logprobs.by_stream() if columns.logprobs is not None else None
        for number, ids in split(columns):
            live = streams.get(number)
            if live is None or live.is_cancelled:
                continue
            live.delivered.extend(ids)
            try:
                if described:
                    live.sink.on_tokens(ids, described.get(number))
                else:
                    live.sink.on_tokens(ids)
            except Exception:  # as above
                self._break(live)

    def _on_ended(self, ended: router_pb2.StreamEnded) -> None:
        live = self._streams.pop(ended.stream, None)
        if live is None:
            return
        reason = finish_reason_from_wire(ended.reason)
        if reason in _END_REASONS:
            receipt, vector = receipt_from_wire(ended.receipt), vector_from_wire(ended.vector)
            self._tell(live, lambda: live.sink.on_ended(reason, receipt, vector))
        else:
            error = error_from_wire(ended.error)
            self._tell(live, lambda: live.sink.on_failed(error))

    def _tell(self, live: LiveStream, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # as above
            self._break(live)

    def _break(self, live: LiveStream) -> None:
        """An answer's own code failed: a fault of ours, and the end of this answer alone."""
        _log.exception("request %s failed in the gateway", live.request.request_id)
        self.cancel(live)
        self._streams.pop(live.number, None)
        live.sink.on_failed(Internal("internal error"))

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
        for live in list(self._streams.values()):
            self._settle_or_keep(live)
        orphans = list(self._streams.values())
        self._streams.clear()
        self._on_change()
        self._on_orphans(orphans)

    def _settle_or_keep(self, live: LiveStream) -> None:
        """End what need not go on elsewhere. Whether it can, the next router knows."""
        if live.is_cancelled:
            self._streams.pop(live.number)
            self._tell(live, lambda: live.sink.on_failed(Cancelled()))
        elif live.is_complete():
            self._streams.pop(live.number)
            at_length = len(live.delivered) >= live.request.sampling.max_tokens
            reason = FinishReason.LENGTH if at_length else FinishReason.STOP
            receipt = _bare_receipt(live)
            self._tell(live, lambda: live.sink.on_ended(reason, receipt))


def _are_distinct(numbers: "array[int]") -> bool:
    return len(set(numbers)) == len(numbers)


def split(columns: TokenColumns) -> Iterable[tuple[int, "array[int]"]]:
    """Each stream's tokens, once per stream even where a frame holds several steps."""
    token_ids = columns.token_ids
    joined: dict[int, array[int]] = {}
    start = 0
    for number, count in zip(columns.streams, columns.counts, strict=True):
        ids = token_ids[start : start + count]
        start += count
        if number in joined:
            joined[number].extend(ids)
        else:
            joined[number] = ids
    return joined.items()


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
