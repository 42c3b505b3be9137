"""What a gateway has at one router: its streams there, and what the router says of them."""

import logging
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from services.common.domain import EmbeddingModel, FinishReason, Receipt, TokenColumns
from services.common.errors import Internal, MeshError
from services.gateway.links.streams import LiveStream, Placement

_log = logging.getLogger(__name__)
END_REASONS = (FinishReason.STOP, FinishReason.LENGTH, FinishReason.CANCELLED)
"""Ends that come with a receipt; the other one comes with an error."""


class Session(Protocol):
    """A router, as `Routers` uses it: in another process, or in this one."""

    model_lens: Mapping[str, int]
    """Longest prompt and answer together, in tokens, by the name of each model served."""
    adapters: Mapping[str, Sequence[str]]
    """Names of the LoRA adapters that each model is served with."""
    embedding_models: Mapping[str, EmbeddingModel]
    """Those models that give vectors instead of text, by name."""
    limit_thinking: Collection[str]
    """Names of models whose workers keep a budget of reasoning tokens."""

    @property
    def is_open(self) -> bool:
        """Whether the router takes requests."""

    @property
    def stream_count(self) -> int:
        """Requests in flight there."""

    def send(self, live: LiveStream) -> None:
        """Submit a stream, with what its client already has."""

    def cancel(self, live: LiveStream) -> bool:
        """Tell the router that nobody wants the rest; False when the stream is not there.

        The end is still reported; tokens are not.
        """

    async def run(self) -> None:
        """Whatever it takes to stay connected; until cancelled."""


class OpenStreams:
    """Streams by number, and how each is told what the router says of it.

    One answer's fault ends that answer alone: `cancel` is asked to tell the router.
    """

    def __init__(self, cancel: Callable[[LiveStream], object]) -> None:
        self._cancel = cancel
        self._streams: dict[int, LiveStream] = {}
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._streams)

    def has(self, live: LiveStream) -> bool:
        """Whether the stream is here."""
        return self._streams.get(live.number) is live

    def enter(self, live: LiveStream) -> None:
        """Take a stream in, under a number that is never used again."""
        self._last_number += 1
        live.number = self._last_number
        self._streams[live.number] = live

    def all(self) -> list[LiveStream]:
        """All streams."""
        return list(self._streams.values())

    def take_all(self) -> list[LiveStream]:
        """All streams; they are here no longer."""
        streams = self.all()
        self._streams.clear()
        return streams

    def placed(self, number: int, placement: Placement) -> None:
        """Where a stream runs."""
        live = self._streams.get(number)
        if live is not None:
            self.tell(live, lambda: live.sink.on_placed(placement))

    def token_each(self, numbers: "array[int]", token_ids: "array[int]") -> None:
        """One token for each of some streams. The hot path: a look-up and a call each."""
        if len(set(numbers)) < len(numbers):  # what comes together for one stream is one write
            self._several(TokenColumns.one_each(numbers, token_ids))
            return
        streams = self._streams
        for number, token_id in zip(numbers, token_ids, strict=True):
            live = streams.get(number)
            if live is None or live.is_cancelled:
                continue
            live.delivered.append(token_id)
            try:
                live.sink.on_token(token_id)
            except Exception:  # one answer's fault must not end what carries them all
                self._break(live)

    def columns(self, columns: TokenColumns) -> None:
        """Any number of tokens, with logprobs; what they hold for one stream is one write."""
        if columns.is_one_each():
            self.token_each(columns.streams, columns.token_ids)
        else:
            self._several(columns)

    def _several(self, columns: TokenColumns) -> None:
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

    def take(self, number: int) -> LiveStream | None:
        """A stream of which the end is to be told; it is here no longer."""
        return self._streams.pop(number, None)

    def end(
        self, live: LiveStream, reason: FinishReason, receipt: Receipt, vector: "array[float] | None" = None
    ) -> None:
        """Tell the end of a stream that was taken."""
        self.tell(live, lambda: live.sink.on_ended(reason, receipt, vector))

    def fail(self, live: LiveStream, error: MeshError, receipt: Receipt | None = None) -> None:
        """Tell why a stream that was taken has no whole answer."""
        self.tell(live, lambda: live.sink.on_failed(error, receipt))

    def tell(self, live: LiveStream, call: Callable[[], None]) -> None:
        """Tell a stream something."""
        try:
            call()
        except Exception:  # as above
            self._break(live)

    def _break(self, live: LiveStream) -> None:
        """An answer's own code failed: a fault of ours, and the end of this answer alone."""
        _log.exception("request %s failed in the gateway", live.request.request_id)
        self._cancel(live)
        self._streams.pop(live.number, None)
        try:
            live.sink.on_failed(Internal("internal error"))
        except Exception:  # the others must not miss what is theirs
            _log.exception("request %s cannot be told so", live.request.request_id)


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
