"""The thin shell: feeds the core with what arrives, and does what it wants done."""

import asyncio
import logging
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any, Protocol

from pdmesh.router.v1 import router_pb2
from services.common.clock import Clock, until_beat_s
from services.common.domain import TokenColumns
from services.common.errors import MeshError
from services.common.rpc import Link
from services.common.rpc.columns import floats_to_bytes
from services.common.rpc.convert import error_to_wire, job_to_wire, receipt_fields, wire_enum
from services.common.rpc.embedding import model_to_wire as embedding_model_to_wire
from services.common.rpc.frames import AnswerDraft, CommandDraft
from services.router.core import RouterCore
from services.router.core.actions import (
    AbortJob,
    Action,
    Announce,
    EndStream,
    ModelInfo,
    RecordPrompt,
    RefuseWorker,
    ReleaseHandoff,
    ReportPair,
    SendModels,
    SendPlaced,
    SendTokenEach,
    SendTokens,
    SendWant,
    StartJob,
)
from services.router.core.events import Event, Tick
from services.router.given_up import GivenUp
from services.router.metrics import Metrics
from services.router.poison import PoisonLog

log = logging.getLogger("pdmesh.router")

TICK_MS_MAX = 250.0
"""A timer set between two ticks is late by this much at most."""
TICK_MS_MIN = 5.0


class Gateway(Protocol):
    """A gateway, as the shell uses it: in another process, or in this one."""

    def post_tokens(self, streams: "array[int]", token_ids: "array[int]") -> bool:
        """Pass on one token for each of some streams at once; False, and nothing is done, if they wait."""

    def add_tokens(self, columns: TokenColumns) -> None:
        """Pass tokens on, with what else is new."""

    def place(self, placed: SendPlaced) -> None:
        """Say where a stream runs."""

    def end(self, ended: EndStream) -> None:
        """Say a stream's only outcome."""

    def set_models(self, models: Sequence[ModelInfo]) -> None:
        """Say what is served from now on."""

    def leave(self) -> None:
        """Say that new requests are wanted elsewhere."""


class GatewayPeer:
    """A gateway in another process: what waits for it, and its link. Implements `Gateway`."""

    def __init__(self, context: Any) -> None:
        self.draft = AnswerDraft()
        self.link: Link[router_pb2.ConnectRequest, router_pb2.ConnectResponse] = Link(context, self.draft)

    def post_tokens(self, streams: "array[int]", token_ids: "array[int]") -> bool:
        """See `Gateway`."""
        return self.link.post_tokens(streams, token_ids)

    def add_tokens(self, columns: TokenColumns) -> None:
        """See `Gateway`."""
        self.draft.add_columns(columns)
        self.link.wake()

    def place(self, placed: SendPlaced) -> None:
        """See `Gateway`."""
        self.draft.place(placed_to_wire(placed))
        self.link.wake()

    def end(self, ended: EndStream) -> None:
        """See `Gateway`."""
        self.draft.end(ended_to_wire(ended))
        self.link.wake()

    def set_models(self, models: Sequence[ModelInfo]) -> None:
        """See `Gateway`."""
        self.draft.set_models(router_pb2.ModelList(models=[model_to_wire(m) for m in models]))
        self.link.wake()

    def leave(self) -> None:
        """See `Gateway`."""
        self.draft.leave()
        self.link.wake()


class WorkerPeer:
    """An attached worker: what waits for it, and its link."""

    def __init__(self, context: Any) -> None:
        self.draft = CommandDraft()
        self.link: Link[Any, Any] = Link(context, self.draft)
        self.refusal: MeshError | None = None
        self.is_greeted = False

    def refuse(self, error: MeshError) -> None:
        """End the session with an error. One not yet greeted ends without a frame, by its own servicer."""
        self.refusal = error
        if self.is_greeted:
            self.link.close()


class Shell:
    """Connects one core with its gateways and workers. All calls come from one event loop."""

    def __init__(self, core: RouterCore, clock: Clock, metrics: Metrics, poison: PoisonLog) -> None:
        self.core = core
        self.gateways: dict[int, Gateway] = {}
        self.given_up = GivenUp(clock)
        self.is_leaving = False
        self.workers: dict[int, WorkerPeer] = {}
        self.idle = asyncio.Event()
        """Set while no request is in flight."""
        self.idle.set()
        self._clock, self._metrics, self._poison = clock, metrics, poison
        self._sessions = count(1)
        self._performers: dict[type[Action], Callable[[Any], None]] = {
            SendTokenEach: self._add_each,
            SendTokens: self._add_tokens,
            SendPlaced: self._place,
            EndStream: self._end,
            **dict.fromkeys((StartJob, AbortJob, ReleaseHandoff, SendWant), self._command),
            RefuseWorker: self._refuse,
            SendModels: self._send_models,
            RecordPrompt: self._record_prompt,
            ReportPair: _log_pair,
            Announce: self._announce,
        }

    def leave(self) -> None:
        """Tell gateways, those that connect from now on included, to take new requests elsewhere."""
        self.is_leaving = True
        for gateway in self.gateways.values():
            gateway.leave()

    def new_session(self) -> int:
        """A number for a new connection."""
        return next(self._sessions)

    def feed(self, event: Event) -> None:
        """Tell the core, then do what it wants. Raises ProtocolViolation as the core does."""
        self._carry_out(self.core.on_event(event, self._clock.now_ms()), self._perform)

    def feed_tokens(self, session: int, streams: "array[int]", token_ids: "array[int]") -> None:
        """The same for a step that gave one token for each of some jobs, which goes on at once if it can."""
        actions = self.core.on_tokens(session, streams, token_ids, self._clock.now_ms())
        self._carry_out(actions, self._perform_at_once)

    def _perform_at_once(self, action: Action) -> None:
        if type(action) is not SendTokenEach or not self._posts(action):
            self._perform(action)

    def _posts(self, action: SendTokenEach) -> bool:
        gateway = self.gateways.get(action.session)
        if gateway is None or not gateway.post_tokens(action.streams, action.token_ids):
            return False
        self._metrics.tokens.value += len(action.token_ids)
        return True

    def _carry_out(self, actions: Iterable[Action], perform: Callable[[Action], None]) -> None:
        for action in actions:
            try:
                perform(action)
            except Exception:  # the core has done with it: the actions after it belong to other requests
                log.exception("action %s failed", type(action).__name__)
        if self.core.state.flights:
            self.idle.clear()
        else:
            self.idle.set()

    def _perform(self, action: Action) -> None:
        self._performers[type(action)](action)

    def _add_each(self, action: SendTokenEach) -> None:
        if (gateway := self.gateways.get(action.session)) is not None:
            gateway.add_tokens(TokenColumns.one_each(action.streams, action.token_ids))
            self._metrics.tokens.value += len(action.token_ids)

    def _add_tokens(self, action: SendTokens) -> None:
        if (gateway := self.gateways.get(action.session)) is not None:
            gateway.add_tokens(action.columns)
            self._metrics.tokens.value += len(action.columns.token_ids)

    def _place(self, action: SendPlaced) -> None:
        self._metrics.count(action)
        if (gateway := self.gateways.get(action.session)) is not None:
            gateway.place(action)

    def _end(self, action: EndStream) -> None:
        self._metrics.count(action)
        if (gateway := self.gateways.get(action.session)) is not None:
            gateway.end(action)

    def _command(self, action: StartJob | AbortJob | ReleaseHandoff | SendWant) -> None:
        if (worker := self.workers.get(action.session)) is not None:
            _add_command(worker.draft, action)
            worker.link.wake()

    def _refuse(self, action: RefuseWorker) -> None:
        if (worker := self.workers.get(action.session)) is not None:
            worker.refuse(action.error)

    def _send_models(self, action: SendModels) -> None:
        session, models = action.session, action.models
        for gateway in self.gateways.values() if session is None else [self.gateways[session]]:
            gateway.set_models(models)

    def _announce(self, action: Announce) -> None:
        happened = "shut out" if action.is_shut_out else "let in again"
        log.warning("%s: %s: %s", action.what, happened, action.why)

    def _record_prompt(self, action: RecordPrompt) -> None:
        self._poison.record(action.request, action.why)

    async def tick(self) -> None:
        """Tell the core of time passing, for ever."""
        while True:
            due_ms = self.core.next_due_ms
            wait_s = until_beat_s(TICK_MS_MAX / 1000.0)
            if due_ms is not None:
                wait_s = min(wait_s, max(due_ms - self._clock.now_ms(), TICK_MS_MIN) / 1000.0)
            await asyncio.sleep(wait_s)
            self.feed(Tick())


def _log_pair(report: ReportPair) -> None:
    pair = f"{report.prefill_worker} -> {report.decode_worker}"
    if report.why:
        log.error("KV cannot be handed over, and requests take another way: %s: %s", pair, report.why)
    else:
        log.info("KV can be handed over again: %s", pair)


def _add_command(draft: CommandDraft, action: StartJob | AbortJob | ReleaseHandoff | SendWant) -> None:
    match action:
        case StartJob():
            draft.add_job(job_to_wire(action.job))
        case ReleaseHandoff():
            draft.release(action.handoff_id)
        case AbortJob():
            draft.abort(action.stream)
        case SendWant():
            draft.want(action.want)


def placed_to_wire(placed: SendPlaced) -> router_pb2.StreamPlaced:
    """Where a stream runs, as a message."""
    return router_pb2.StreamPlaced(
        stream=placed.stream,
        path=wire_enum(placed.path),
        path_reason=placed.path_reason,
        prefill_worker=placed.prefill_worker,
        decode_worker=placed.decode_worker,
    )


def ended_to_wire(ended: EndStream) -> router_pb2.StreamEnded:
    """A stream's outcome, as a message."""
    wire = router_pb2.StreamEnded(
        stream=ended.stream,
        reason=wire_enum(ended.reason),
        receipt=receipt_fields(ended.receipt),
        vector=b"" if ended.vector is None else floats_to_bytes(ended.vector),
    )
    if ended.error is not None:
        wire.error.CopyFrom(error_to_wire(ended.error))
    return wire


def model_to_wire(info: ModelInfo) -> router_pb2.Model:
    """A served model, as a message."""
    embedding_model = info.embedding_model
    return router_pb2.Model(
        name=info.name,
        max_model_len=info.max_model_len_tokens,
        prefill_workers=info.prefill_workers,
        decode_workers=info.decode_workers,
        adapters=info.adapters,
        embedding_model=None if embedding_model is None else embedding_model_to_wire(embedding_model),
        limits_thinking=info.limits_thinking,
    )
