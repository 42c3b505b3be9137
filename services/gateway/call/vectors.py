"""One call's vectors: a stream at the router for each text, some of them at a time."""

import asyncio
from array import array
from collections.abc import Callable

from services.common.domain import FinishReason, Receipt, Request, TokenLogprobs
from services.common.errors import AnswerTooLarge, Cancelled, Internal, MeshError
from services.gateway.links.streams import LiveStream, Placement, Streams


class Vectors:
    """Collects the vectors, encoded as they come. The first text that fails fails the call.

    `on_settled` is called once, when the call is over and the router has ended all of its streams: what was
    placed is known then, also of texts whose caller did not wait for the vector.
    """

    def __init__(
        self,
        streams: Streams,
        count: int,
        request_of: Callable[[int], Request],
        encode: Callable[[int, "array[float]"], bytes],
        on_settled: Callable[["Vectors"], None],
        *,
        in_flight_max: int,
        size_bytes_max: int,
    ) -> None:
        self.data: dict[int, bytes] = {}
        """What is there, by the number of its text."""
        self.receipts: dict[int, Receipt] = {}
        self.placed: set[int] = set()
        """Numbers of the texts that a worker was given."""
        self._streams = streams
        self._count = count
        self._request_of = request_of
        self._encode = encode
        self._on_settled = on_settled
        self._is_settled = False
        self._in_flight_max, self._size_bytes_left = in_flight_max, size_bytes_max
        self._next = 0
        self._live: dict[int, LiveStream] = {}
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def make(self) -> None:
        """Return when all are there; raise the error that prevents it. Nothing is left at the router then."""
        try:
            self._submit_more()
            await self._done
        finally:
            self._done.cancel()  # does nothing where it is done
            for live in list(self._live.values()):  # some may end at once
                self._streams.cancel(live)
            self._settle()

    def fail(self, error: MeshError) -> None:
        """Nobody wants the rest, or nobody will get it."""
        if not self._done.done():
            self._done.set_exception(error)

    def ended(self, number: int, receipt: Receipt, vector: "array[float]") -> None:
        """Take one in, and go on with the next text."""
        self._live.pop(number, None)
        self.placed.add(number)
        self.receipts[number] = receipt
        if self._done.done():
            self._settle()
            return
        self.data[number] = self._encode(number, vector)
        self._size_bytes_left -= len(self.data[number])
        if self._size_bytes_left < 0:
            self.fail(AnswerTooLarge("the answer is too large; ask for base64, or for fewer at a time"))
        elif len(self.data) == self._count:
            self._done.set_result(None)
            self._settle()
        else:
            self._submit_more()

    def failed(self, number: int, error: MeshError) -> None:
        """A text has no vector."""
        self._live.pop(number, None)
        self.fail(error)
        self._settle()

    def _settle(self) -> None:
        if self._done.done() and not self._live and not self._is_settled:
            self._is_settled = True
            self._on_settled(self)

    def _submit_more(self) -> None:
        while self._next < self._count and len(self._live) < self._in_flight_max:
            number, self._next = self._next, self._next + 1
            try:
                live = self._streams.submit(self._request_of(number), _One(number, self), frozenset())
            except MeshError as error:
                self.fail(error)
                return
            self._live[number] = live


class _One:
    """Takes the end of one text's stream (a `StreamSink`)."""

    __slots__ = ("_number", "_vectors")

    def __init__(self, number: int, vectors: Vectors) -> None:
        self._number, self._vectors = number, vectors

    def on_placed(self, placement: Placement) -> None:
        """Its text counts from now on."""
        self._vectors.placed.add(self._number)

    def on_token(self, token_id: int) -> None:
        """There are none."""

    def on_tokens(self, ids: "array[int]", logprobs: TokenLogprobs | None = None) -> None:
        """There are none."""

    def on_ended(self, reason: FinishReason, receipt: Receipt, vector: "array[float] | None" = None) -> None:
        """Pass the vector on."""
        if reason is FinishReason.CANCELLED:
            self._vectors.failed(self._number, Cancelled("the request was cancelled"))
        elif vector is None:
            self._vectors.failed(self._number, Internal("the worker gave no vector"))
        else:
            self._vectors.ended(self._number, receipt, vector)

    def on_failed(self, error: MeshError, receipt: Receipt | None = None) -> None:
        """Pass the error on."""
        self._vectors.failed(self._number, error)
