"""A call with an idempotency key, as the keeper of answers knows it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from services.common.domain import Receipt
from services.common.errors import AnswerLost, Cancelled, MeshError, by_reason
from services.common.rpc.convert import receipt_from_wire
from services.gateway.grpc.bodies import Request
from services.gateway.grpc.deltas import Response
from services.gateway.grpc.framing import taken_from
from services.gateway.http import Exchange, HttpRequest, HttpResponse
from services.gateway.http.message import Header
from services.gateway.http.no_client import NoClient
from services.gateway.idempotency import IDEMPOTENCY_KEY

BEHIND_BYTES = 64 * 1024
"""Past this the client counts as slow, and what follows waits on the tape."""


class KeyedExchange(Exchange):
    """A call as what answers requests with a key knows them: the exchange of an HTTP request.

    What is written are messages with their length in front; the call's own task takes them with `next`.
    """

    __slots__ = ("_buffer", "_error", "_head_fields", "_message", "_news", "_waiting", "on_full", "receipt")

    def __init__(self, method: str, request: Request, key: str, message: Callable[[], Response]) -> None:
        asked = HttpRequest(
            method="POST",
            path=method,
            headers={IDEMPOTENCY_KEY: key},
            body=_sameness(request),
            keep_alive=True,
            chunks_allowed=False,
            received_ms=0.0,
        )
        super().__init__(asked, NoClient())
        self.receipt: Receipt | None = None
        self.on_full: Callable[[], None] = lambda: None
        self._message = message
        self._news = asyncio.Event()
        self._buffer = bytearray()
        self._waiting: list[bytes] = []
        self._head_fields: Sequence[Header] = ()
        self._error: MeshError | None = None

    # What the keeper of answers says.

    def respond(self, response: HttpResponse) -> None:
        """Take a refusal; whole answers are never given to calls."""
        self._fail(_error_of(response))

    def start(self, status: int, content_type: str, headers: Sequence[Header] = ()) -> None:
        """Take the head."""
        self.is_started = True
        self.status = status
        self._head_fields = headers

    def write(self, data: bytes) -> None:
        """Take a part, which may end inside a message."""
        self._buffer += data
        self._waiting += taken_from(self._buffer)
        self.is_behind = sum(map(len, self._waiting)) > BEHIND_BYTES
        if self._waiting:
            self._news.set()

    def finish(self, data: bytes = b"") -> None:
        """Take the last part."""
        self.write(data)
        self.is_open = False
        self._news.set()

    def drop(self, why: MeshError) -> None:
        """Take that the rest never comes."""
        self._fail(why)

    def lose(self, why: MeshError) -> None:
        """Take that nobody writes any more, or nobody reads."""
        if self.is_open:
            super().lose(why)
            self._fail(why)

    # What the call's task does.

    @property
    def is_over(self) -> bool:
        """Whether everything was taken."""
        return not self.is_open and not self._waiting and self._error is None

    def head(self) -> Sequence[Header]:
        """For the initial metadata."""
        return (*self.headers, *self._head_fields)

    async def next(self) -> Response:
        """Everything that came since the last message, once there is something; raises its error."""
        await self._news.wait()
        self._news.clear()
        if not self._waiting:
            raise self._error or AnswerLost("the kept answer ended before its last message")
        made = self._message()
        for data in self._waiting:
            made.MergeFromString(data)
        self._waiting.clear()
        self._catch_up()
        if made.HasField("summary") and made.summary.receipts:
            self.receipt = receipt_from_wire(made.summary.receipts[0])
        if self._waiting or not self.is_open:
            self._news.set()
        return made

    def close(self) -> None:
        """Nobody reads any more; the answer goes on for a while, for whoever asks again."""
        self.lose(Cancelled())

    def _catch_up(self) -> None:
        if self.is_behind:
            self.is_behind = False
            self.on_writable()

    def _fail(self, error: MeshError) -> None:
        self.is_open = False
        self._error = error
        self._news.set()


def _sameness(request: Request) -> bytes:
    """What makes two requests the same: all but their names."""
    copy: Any = type(request)()
    copy.CopyFrom(request)
    copy.options.ClearField("request_id")
    copy.options.ClearField("idempotency_key")
    return bytes(copy.SerializeToString(deterministic=True))


def _error_of(response: HttpResponse) -> MeshError:
    """The error of an OpenAI-style error body."""
    said = msgspec.json.decode(response.body)["error"]
    wait = dict(response.headers).get("retry-after-ms")
    kind = by_reason(said["code"])
    return kind(said["message"], field=said["param"] or "", retry_after_ms=int(wait) if wait else None)
