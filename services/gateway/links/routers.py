"""All routers of the mesh as this gateway sees them: one link to each, and every request on one of them."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from pdmesh.router.v1 import router_pb2
from services.common.background import keep_running
from services.common.clock import Clock, MonotonicClock, until_beat_s
from services.common.credentials import OPEN, Security
from services.common.domain import EmbeddingModel, Request
from services.common.errors import (
    Cancelled,
    DeadlinePassed,
    Internal,
    MeshError,
    RouterUnavailable,
    TooManyConnections,
)
from services.common.limits import DEFAULTS, Limits
from services.gateway.links.router_session import RouterSession
from services.gateway.links.session import Session
from services.gateway.links.streams import LiveStream, StreamSink

RETRY_AFTER_MS = 1_000
WAITING_CHECK_S = 0.25

Inner = Callable[[Callable[[], None]], Session]
"""Makes the session with a router in this process, of what is to be called when that changes."""
_log = logging.getLogger(__name__)


class Routers:
    """Gives each request to the router with the fewest of ours; `run` keeps all links until cancelled.

    What a lost router had goes on at another at once, with the tokens that its client has. While no router
    serves its model it waits, at most `resume_wait_ms`, and so do new requests for a model that was served.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        greeting: router_pb2.GatewayGreeting,
        *,
        resume_wait_ms: float,
        limits: Limits = DEFAULTS,
        clock: Clock | None = None,
        security: Security = OPEN,
        on_change: Callable[[], None] = lambda: None,
        inner: Inner | None = None,
    ) -> None:
        """With `inner` the only router is in this process, and `addresses` count for nothing."""
        self.model_lens: Mapping[str, int] = {}
        """Longest prompt and answer together, in tokens, by the name of each model served."""
        self.adapters: Mapping[str, Sequence[str]] = {}
        """Names of the LoRA adapters that each model is served with."""
        self.embedding_models: Mapping[str, EmbeddingModel] = {}
        """Those models that give vectors instead of text, by name."""
        self.limit_thinking: Collection[str] = ()
        """Names of models whose workers keep a budget of reasoning tokens, at every router that has them."""
        self.known_models: set[str] = set()
        """Names of all models that a router has ever said it serves."""
        self._resume_wait_ms = resume_wait_ms
        self._limits = limits
        self._clock = clock or MonotonicClock()
        self._on_change = on_change
        self._change = asyncio.Event()
        """Set with the next change of what is served; each change makes a new one."""
        self._held = 0
        """New requests that wait for their model to be served again."""
        self._waiting: dict[LiveStream, float] = {}
        """Streams that lost their router, and when."""
        self._ready: list[Session] = []
        """Those that take requests."""
        self._sessions: list[Session] = [
            RouterSession(
                address,
                greeting,
                limits=limits,
                clock=self._clock,
                security=security,
                on_change=self._changed,
                on_orphans=self._adopt,
            )
            for address in (() if inner else addresses)
        ]
        if inner is not None:
            self._sessions.append(inner(self._changed))

    @property
    def is_attached(self) -> bool:
        """Whether any router takes requests."""
        return bool(self._ready)

    @property
    def stream_count(self) -> int:
        """Requests in flight."""
        return sum(session.stream_count for session in self._sessions) + len(self._waiting)

    def submit(self, request: Request, sink: StreamSink, final_ids: frozenset[int]) -> LiveStream:
        """Send a request to a router; raises `RouterUnavailable` or `TooManyConnections`."""
        session = self._choose(request.model)
        if session is None:
            raise RouterUnavailable("no router is connected", retry_after_ms=RETRY_AFTER_MS)
        if self.stream_count >= self._limits.streams_per_gateway_max:
            raise TooManyConnections(
                "this gateway's streams are at their bound", retry_after_ms=RETRY_AFTER_MS
            )
        live = LiveStream(0, request, sink, final_ids, submitted_ms=self._clock.now_ms())
        session.send(live)
        return live

    def may_come_back(self, model: str) -> bool:
        """Whether a new request for a model that is not served may wait: it was, and few wait already."""
        return model in self.known_models and self._held < self._limits.queue_requests_max

    async def comes_back(self, model: str, left_ms: float | None) -> bool:
        """Wait until a model is served again; whether it is.

        It waits as long as requests in flight do, and `left_ms` at most.
        """
        wait_ms = self._resume_wait_ms if left_ms is None else min(left_ms, self._resume_wait_ms)
        self._held += 1
        try:
            async with asyncio.timeout(wait_ms / 1_000):
                while model not in self.model_lens:
                    await self._change.wait()
        except TimeoutError:
            return False
        finally:
            self._held -= 1
        return True

    def cancel(self, live: LiveStream) -> None:
        """Nobody wants the rest. The end is still reported; tokens are not."""
        if self._waiting.pop(live, None) is not None:
            _fail(live, Cancelled())
            return
        for session in self._sessions:
            if session.cancel(live):
                return

    async def run(self) -> None:
        """Keep a link to every router; until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for session in self._sessions:
                tasks.create_task(keep_running("router link", session.run))
            tasks.create_task(keep_running("waiting requests", self._watch_waiting))

    async def _watch_waiting(self) -> None:
        while True:
            await asyncio.sleep(until_beat_s(WAITING_CHECK_S))
            self._end_waiting_in_vain()

    def _choose(self, model: str) -> Session | None:
        """Of those that take requests, one that serves the model if any does, with the fewest of ours.

        Which models there are is for a router to say: where none serves it, one refuses it.
        """
        ready = self._ready
        if len(ready) == 1:
            return ready[0]
        serving = [session for session in ready if model in session.model_lens]
        return min(serving or ready, key=lambda session: session.stream_count, default=None)

    def _changed(self) -> None:
        """A router came, went, or serves other models."""
        self._ready = [session for session in self._sessions if session.is_open]
        lens: dict[str, int] = {}
        adapters: dict[str, Sequence[str]] = {}
        embedding_models: dict[str, EmbeddingModel] = {}
        for session in self._ready:
            for name, length in session.model_lens.items():
                lens[name] = min(length, lens.get(name, length))
            adapters |= session.adapters
            embedding_models |= session.embedding_models
        self.model_lens, self.adapters, self.embedding_models = lens, adapters, embedding_models
        self.limit_thinking = {name for name in lens if self._limits_thinking(name)}
        self.known_models.update(lens)
        self._submit_waiting()
        change, self._change = self._change, asyncio.Event()
        change.set()
        self._on_change()

    def _limits_thinking(self, name: str) -> bool:
        having = [each for each in self._ready if name in each.model_lens]
        return all(name in session.limit_thinking for session in having)

    def _adopt(self, orphans: Sequence[LiveStream]) -> None:
        """Streams of a lost router."""
        now_ms = self._clock.now_ms()
        self._waiting.update((live, now_ms) for live in orphans)
        self._submit_waiting()

    def _submit_waiting(self) -> None:
        """Go on with what a router can take: one that has just started knows no workers yet."""
        for live in list(self._waiting):
            if live not in self._waiting:
                continue  # as below
            if live.request.model in self.model_lens and (session := self._choose(live.request.model)):
                del self._waiting[live]
                try:
                    session.send(live)
                except Exception:  # one request's fault must not end what carries them all
                    _log.exception("request %s cannot be submitted again", live.request.request_id)
                    _fail(live, Internal("internal error"))

    def _end_waiting_in_vain(self) -> None:
        now_ms = self._clock.now_ms()
        for live, lost_ms in list(self._waiting.items()):
            left_ms = live.left_ms(now_ms)
            if live not in self._waiting:
                continue  # another choice of the same answer has failed, and taken this one along
            if left_ms is not None and left_ms <= 0:
                del self._waiting[live]
                _fail(live, DeadlinePassed("the request's deadline has passed"))
            elif now_ms - lost_ms > self._resume_wait_ms:
                del self._waiting[live]
                _fail(live, RouterUnavailable("the router was lost", retry_after_ms=RETRY_AFTER_MS))


def _fail(live: LiveStream, error: MeshError) -> None:
    try:
        live.sink.on_failed(error)
    except Exception:  # one answer's fault must not end what carries them all
        _log.exception("request %s failed in the gateway", live.request.request_id)
