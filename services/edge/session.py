"""The router of this process, as its gateway sees it, and the gateway, as its router does."""

import asyncio
import logging
from array import array
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence

from services.common.domain import EmbeddingModel, TokenColumns
from services.common.errors import Cancelled, Internal
from services.gateway.links.session import END_REASONS, OpenStreams
from services.gateway.links.streams import LiveStream, Placement
from services.router.core.actions import EndStream, ModelInfo, SendPlaced
from services.router.core.events import CancelRequested, GatewayAttached, GatewayDetached, Submitted
from services.router.shell import Shell

_log = logging.getLogger(__name__)


class InnerSession:
    """Implements the gateway's `Session` and the router's `Gateway`.

    What the gateway says reaches the router after the call in which it is said, as it would over a wire: that
    may be a call of the router's, and the core takes one event at a time. What the router says reaches the
    gateway at once.
    """

    def __init__(self, shell: Shell, on_change: Callable[[], None]) -> None:
        self.model_lens: Mapping[str, int] = {}
        self.adapters: Mapping[str, Sequence[str]] = {}
        self.embedding_models: Mapping[str, EmbeddingModel] = {}
        self.limit_thinking: Collection[str] = ()
        self._shell, self._on_change = shell, on_change
        self._open = OpenStreams(self.cancel)
        self._number = 0
        """The router's number for us; 0 while not connected."""
        self._is_leaving = False
        self._said: deque[Submitted | CancelRequested] = deque()
        """What the router has not been told."""

    @property
    def is_open(self) -> bool:
        """See `Session`."""
        return self._number > 0 and not self._is_leaving

    @property
    def stream_count(self) -> int:
        """See `Session`."""
        return len(self._open)

    async def run(self) -> None:
        """Be connected, until cancelled; what is in flight then is cancelled, as when a gateway dies."""
        number = self._number = self._shell.new_session()
        self._shell.gateways[number] = self
        self._shell.feed(GatewayAttached(number))
        try:
            await asyncio.get_running_loop().create_future()  # for ever
        finally:
            self._number = 0
            self._said.clear()
            del self._shell.gateways[number]
            self._shell.feed(GatewayDetached(number))
            self._on_change()
            for live in self._open.take_all():
                self._open.fail(live, Cancelled())

    # What the gateway says.

    def send(self, live: LiveStream) -> None:
        """See `Session`."""
        self._open.enter(live)  # it was nowhere before: what is in one process is not lost and resumed
        self._say(Submitted(self._number, live.number, live.request))

    def cancel(self, live: LiveStream) -> bool:
        """See `Session`."""
        if not self._open.has(live):
            return False
        if not live.is_cancelled:
            live.is_cancelled = True
            self._say(CancelRequested(self._number, live.number))
        return True

    def _say(self, event: Submitted | CancelRequested) -> None:
        if self._number:
            self._said.append(event)
            asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        while self._said:
            event = self._said.popleft()
            try:
                self._shell.feed(event)
            except Exception:  # one request's fault must not end the others
                _log.exception("the router failed at a request's event")
                if (live := self._open.take(event.stream)) is not None:
                    self._open.fail(live, Internal("internal error"))

    # What the router says.

    def post_tokens(self, streams: "array[int]", token_ids: "array[int]") -> bool:
        """See `Gateway`."""
        self._open.token_each(streams, token_ids)
        return True

    def add_tokens(self, columns: TokenColumns) -> None:
        """See `Gateway`."""
        self._open.columns(columns)

    def place(self, placed: SendPlaced) -> None:
        """See `Gateway`."""
        placement = Placement(placed.path, placed.path_reason, placed.prefill_worker, placed.decode_worker)
        self._open.placed(placed.stream, placement)

    def end(self, ended: EndStream) -> None:
        """See `Gateway`."""
        live = self._open.take(ended.stream)
        if live is None:
            return
        if ended.reason in END_REASONS:
            self._open.end(live, ended.reason, ended.receipt, ended.vector)
        else:
            self._open.fail(live, ended.error or Internal("internal error"), ended.receipt)

    def set_models(self, models: Sequence[ModelInfo]) -> None:
        """See `Gateway`."""
        self.model_lens = {model.name: model.max_model_len_tokens for model in models}
        self.adapters = {model.name: model.adapters for model in models}
        self.limit_thinking = {model.name for model in models if model.limits_thinking}
        self.embedding_models = {
            model.name: model.embedding_model for model in models if model.embedding_model is not None
        }
        self._on_change()

    def leave(self) -> None:
        """See `Gateway`."""
        self._is_leaving = True
        self._on_change()
