"""One request and its answer."""

from collections.abc import Callable, Sequence
from typing import Protocol

from services.common.errors import MeshError
from services.gateway.http.message import Header, HttpRequest, HttpResponse, encode_head


class Client(Protocol):
    """What an exchange needs of the connection that it writes to."""

    send: Callable[[bytes], None]

    @property
    def date(self) -> str:
        """The date header's value."""

    @property
    def is_draining(self) -> bool:
        """Whether the answer is the connection's last."""

    def exchange_ended(self, *, closes: bool) -> None:
        """The answer is complete."""

    def abort(self) -> None:
        """Cut the connection at once."""


def _ignore_gone(_: MeshError) -> None:
    """What `on_gone` does until somebody cares."""


def _ignore_writable() -> None:
    """What `on_writable` does until somebody cares."""


def _ignore_end(_: "Exchange") -> None:
    """What `on_end` does until somebody cares."""


class Exchange:
    """What a handler gets: the request, and the one answer to it.

    Either `respond` once, or `start`, any number of `write`, then `finish` (or `drop`). Whoever keeps the
    exchange sets `on_gone`, called at most once when the client is gone before the answer's end, and
    `on_writable`, called when a client that was behind has caught up. While `is_behind`, every byte written
    stays in this process's memory: a writer holds its text back, within a bound, until `on_writable`.
    Writing to a client that is gone does nothing. `on_end` is called once, when it is over either way.

    `headers` go out with whatever answer is given; `notes` collect what the request's log line is to say.
    """

    __slots__ = (
        "_closes",
        "_connection",
        "_head",
        "_is_chunked",
        "_send",
        "caller",
        "error_response",
        "headers",
        "is_behind",
        "is_open",
        "is_started",
        "notes",
        "on_end",
        "on_gone",
        "on_writable",
        "request",
        "status",
    )

    def __init__(self, request: HttpRequest, connection: Client) -> None:
        self.request = request
        self.on_gone: Callable[[MeshError], None] = _ignore_gone
        self.on_writable: Callable[[], None] = _ignore_writable
        self.on_end: Callable[[Exchange], None] = _ignore_end
        self.caller = request.caller
        """Who sent the request."""
        self.error_response: Callable[[MeshError], HttpResponse] | None = None
        """An error in the words of the API that was called, where they are not the server's own."""
        self.headers: tuple[Header, ...] = ()
        self.notes: dict[str, object] = {}
        self.status = 0
        self.is_open = True
        self.is_started = False
        self.is_behind = False
        """Whether the client does not read as fast as it is written to; kept by the connection."""
        self._connection = connection
        self._send = connection.send
        self._head = b""
        self._is_chunked = False
        self._closes = not request.keep_alive

    def respond(self, response: HttpResponse) -> None:
        """Send a whole answer."""
        if not self._begin(response.status):
            return
        headers = [
            ("content-type", response.content_type),
            ("content-length", str(len(response.body))),
            *self._own_headers(),
            *response.headers,
        ]
        body = b"" if self.request.method == "HEAD" else response.body
        self._send(encode_head(response.status, headers) + body)
        self._end()

    def start(self, status: int, content_type: str, headers: Sequence[Header] = ()) -> None:
        """Begin a streamed answer; its head travels with the first bytes of the body."""
        if not self._begin(status):
            return
        self._is_chunked = self.request.chunks_allowed
        self._closes = self._closes or not self._is_chunked
        framing = [("transfer-encoding", "chunked")] if self._is_chunked else []
        self._head = encode_head(
            status, [("content-type", content_type), *framing, *self._own_headers(), *headers]
        )

    def write(self, data: bytes) -> None:
        """Send a part of the body; empty parts are skipped."""
        if not self.is_open or not data:
            return
        if self._is_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._head:
            data = self._head + data
            self._head = b""
        self._send(data)

    def template(self, before: bytes, after: bytes) -> "Template | None":
        """For parts that begin and end alike; None where parts need more than that."""
        if not (self.is_open and self._is_chunked) or self._head:
            return None
        return Template(self, self._send, before, after)

    def finish(self, data: bytes = b"") -> None:
        """Send the last part, if any, and the end of the body, in one piece."""
        if not self.is_open:
            return
        if self._is_chunked:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        self._send(self._head + data)
        self._head = b""
        self._end()

    def drop(self, why: MeshError) -> None:
        """Cut the connection, so that the client cannot take a part for the whole."""
        if self.is_open:
            self.lose(why)
            self._connection.abort()

    def lose(self, why: MeshError) -> None:
        """Take notice that the client is gone; called by the connection."""
        if self.is_open:
            self.is_open = False
            self.request.release()
            self.notes["error"] = why
            self.on_gone(why)
            self.on_end(self)

    def _begin(self, status: int) -> bool:
        if not self.is_open:
            return False
        if self.is_started:
            raise RuntimeError("an exchange is answered once")
        self.is_started = True
        self.status = status
        self._closes = self._closes or self._connection.is_draining
        return True

    def _own_headers(self) -> list[Header]:
        connection = "close" if self._closes else "keep-alive"
        return [("date", self._connection.date), ("connection", connection), *self.headers]

    def _end(self) -> None:
        self.is_open = False
        self.request.release()
        self.on_end(self)
        self._connection.exchange_ended(closes=self._closes or self._connection.is_draining)


class Template:
    """Parts of one body that differ in their middle alone. Written once per token: the hot path."""

    __slots__ = ("_after", "_around_bytes", "_before", "_exchange", "_send")

    def __init__(
        self, exchange: Exchange, send: Callable[[bytes], None], before: bytes, after: bytes
    ) -> None:
        self._exchange, self._send = exchange, send
        self._before, self._after = before, after
        self._around_bytes = len(before) + len(after)

    def write(self, middle: bytes) -> bool:
        """Send a part; False, and nothing is sent, while the client is behind or when it is gone."""
        exchange = self._exchange
        if exchange.is_behind or not exchange.is_open:
            return False
        around_bytes, before, after = self._around_bytes, self._before, self._after
        self._send(b"%x\r\n%b%b%b\r\n" % (around_bytes + len(middle), before, middle, after))
        return True
