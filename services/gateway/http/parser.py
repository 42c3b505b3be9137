"""From bytes to whole requests, every part of them bounded."""

from collections.abc import Callable
from typing import NoReturn
from urllib.parse import unquote

import httptools

from services.common.clock import Clock
from services.common.errors import HeadersTooLarge, MalformedHttp, MeshError
from services.common.limits import Limits
from services.gateway.http.admission import Admission, Admit
from services.gateway.http.body_buffer import BodyBuffer
from services.gateway.http.head_rules import check_head, must_close
from services.gateway.http.message import HttpRequest
from services.gateway.shared_room import SharedRoom

_OFFERS = ("upgrade", "http2-settings")
"""Headers, and words of `Connection`, by which a client offers to go on in another protocol."""


_USUAL = (
    *("accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host"),
    *("idempotency-key", "user-agent", "x-request-id"),
)
_USUAL_NAMES = {written.encode(): name for name in _USUAL for written in (name, name.title(), name.upper())}
"""Names as clients write them, and as handlers know them."""


class RequestParser:
    """One connection's parser. Its `on_*` methods are called by httptools.

    `admit` decides by each request's head, `take` gets each whole request, and `expects_continue` is called
    when a client waits for leave to send a body. A request whose head is refused is handed over at once, and
    nothing is read after it if it has a body.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Clock,
        room: SharedRoom,
        admit: Admit,
        take: Callable[[HttpRequest], None],
        expects_continue: Callable[[], None],
    ) -> None:
        self._limits = limits
        self._head_size_max = limits.header_size_bytes_max
        self._clock = clock
        self._room = room
        self._admit = admit
        self._take = take
        self._expects_continue = expects_continue
        self._http = httptools.HttpRequestParser(self)
        self._refusal: MeshError | None = None
        self._requests_in_feed = 0
        self._body: BodyBuffer | None = None
        self.in_head = False
        self.in_body = False
        self._start_message()

    def feed(self, data: bytes) -> None:
        """Parse on; raises a `MeshError` for what the server does not take; feed nothing after that."""
        self._requests_in_feed = 0
        body, had_bytes = self._body, len(self._body or ())
        unparsed = data
        while unparsed:
            unparsed = self._parse(unparsed)
        if self._requests_in_feed:  # a read that ends one request and begins the next says little of either
            return
        if self.in_head:
            self._count_unfinished(len(data))
        elif body is not None and body is self._body:
            self._count_framing(body, len(data) - (len(body) - had_bytes))

    def close(self) -> None:
        """Let go of the callbacks, which hold the connection, and of a body that will not be whole."""
        self._drop_body()
        del self._http

    def _parse(self, data: bytes) -> bytes:
        """Parse on; returns what is left, past the head of a request that offers another protocol."""
        try:
            self._http.feed_data(data)
        except httptools.HttpParserCallbackError:
            if self._refusal is None:
                raise
            raise self._refusal from None
        except httptools.HttpParserUpgrade as upgrade:
            return self._pass_over_upgrade() + data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            raise MalformedHttp(f"malformed HTTP: {error}") from None
        return b""

    def _pass_over_upgrade(self) -> bytes:
        """The head without its offer, for a new parser; to the old one what follows is the other protocol.

        A server may ignore an offer (RFC 9110, section 7.8); `CONNECT` is no offer but a demand.
        """
        method = self._http.get_method()
        if method == b"CONNECT":
            raise MalformedHttp("CONNECT is not supported")
        version = self._http.get_http_version().encode("ascii")
        self._http = httptools.HttpRequestParser(self)
        tokens = (token.strip() for token in self._headers.pop("connection", "").split(","))
        left = [token for token in tokens if token.lower() not in _OFFERS]
        fields = [(name, value) for name, value in self._headers.items() if name not in _OFFERS]
        hosts = [("host", self._headers["host"])] * (self._host_count - 1)
        lines = [
            f"{name}: {value}".encode("latin-1")
            for name, value in [*fields, *hosts, ("connection", ",".join(left))]
        ]
        return b"\r\n".join([b"%b %b HTTP/%b" % (method, self._target, version), *lines, b"", b""])

    def _start_message(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._host_count = 0
        self._head_size = 0
        self._unfinished_size = 0
        self._head: HttpRequest | None = None
        self._body = None

    def _drop_body(self) -> None:
        if self._body is not None:
            self._body.holding.release()

    def _refuse(self, refusal: MeshError) -> NoReturn:
        self._drop_body()
        self._refusal = refusal
        raise refusal

    def _count_unfinished(self, size: int) -> None:
        """Count a read in which the head has not ended: its last header, unfinished, is kept unseen."""
        self._unfinished_size += size
        if self._unfinished_size > self._head_size_max:
            self._refuse_head()

    def _count_framing(self, body: BodyBuffer, size: int) -> None:
        """Count what a read had beside the body's bytes: extensions and trailers are seen by nobody else."""
        try:
            body.count_framing(size)
        except MeshError as refusal:
            self._refuse(refusal)

    def _refuse_head(self) -> NoReturn:
        self._refuse(HeadersTooLarge(f"the request's headers are over {self._head_size_max} bytes"))

    def on_message_begin(self) -> None:
        """Take notice that a request has begun."""
        self._start_message()
        self.in_head = True

    def on_url(self, part: bytes) -> None:
        """Take a part of the request's target."""
        self._target += part
        self._head_size += len(part)
        if self._head_size > self._head_size_max:
            self._refuse_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header; trailers are thrown away, since nothing here asks for any."""
        self._head_size += len(name) + len(value) + 4
        if self._head_size > self._head_size_max:
            self._refuse_head()
        if self.in_body:
            return
        key = _USUAL_NAMES.get(name) or name.decode("latin-1").lower()
        text, headers = value.decode("latin-1"), self._headers
        if key == "host":
            self._host_count += 1
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        """Refuse what the head decides already; let a waiting client send."""
        if self._http.should_upgrade():
            return
        self.in_head = False
        self.in_body = True
        self._unfinished_size = 0
        try:
            check_head(self._http.get_http_version(), self._headers, self._host_count)
        except MeshError as refusal:
            self._refuse(refusal)
        self._head = head = self._request()
        try:
            admission = self._admit(head)
        except MeshError as refusal:
            self._turn_away(head, refusal)
            return
        head.caller = admission.caller
        self._open_body(admission)

    def on_chunk_header(self) -> None:
        """Take notice that a chunk's size is known."""
        if self._body is not None:
            self._body.count_chunk()

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        if self._body is None:  # of a head that was refused
            return
        try:
            self._body.add(part)
        except MeshError as refusal:
            self._refuse(refusal)

    def on_message_complete(self) -> None:
        """Hand over the request."""
        if self._http.should_upgrade() or self._head is None:
            return  # only the head of it, which comes again
        self.in_body = False
        self._requests_in_feed += 1
        if self._requests_in_feed > self._limits.pipelined_requests_max:
            self._refuse(MalformedHttp("too many pipelined requests"))
        request = self._head
        request.received_ms = self._clock.now_ms()
        version = self._http.get_http_version()
        request.keep_alive = self._http.should_keep_alive() and not must_close(version, self._headers)
        if self._body is not None:
            request.body, request.holding = self._body.take(), self._body.holding
        self._start_message()
        self._take(request)

    def _open_body(self, admission: Admission) -> None:
        holding = self._room.open(admission.caller.tenant)
        self._body = BodyBuffer(holding, admission.body_size_bytes_max, self._head_size_max)
        try:
            self._body.check_declared(self._headers.get("content-length", "").lstrip("0"))
        except MeshError as refusal:
            self._refuse(refusal)
        if self._headers.get("expect", "").lower() == "100-continue":
            self._expects_continue()

    def _turn_away(self, head: HttpRequest, refusal: MeshError) -> None:
        """Hand over a refused head: at once, and as the last, if a body comes behind it."""
        head.refusal = refusal
        length = self._headers.get("content-length", "").lstrip("0")
        if length or "transfer-encoding" in self._headers:
            head.keep_alive = False
            self._take(head)
            self._refuse(refusal)

    def _request(self) -> HttpRequest:
        """The request as its head tells it."""
        return HttpRequest(
            method=self._http.get_method().decode("latin-1"),
            path=self._path(),
            headers=self._headers,
            body=b"",
            keep_alive=True,
            chunks_allowed=self._http.get_http_version() != "1.0",
            received_ms=self._clock.now_ms(),
            query=self._query(),
        )

    def _query(self) -> str:
        return self._target.partition(b"?")[2].decode("latin-1")

    def _path(self) -> str:
        try:
            path: str = (httptools.parse_url(self._target).path or b"/").decode("latin-1")
        except httptools.HttpParserError:
            self._refuse(MalformedHttp("malformed request target"))
        return unquote(path) if "%" in path else path
