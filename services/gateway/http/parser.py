"""From bytes to whole requests, every part of them bounded."""

from collections.abc import Callable
from typing import NoReturn
from urllib.parse import unquote

import httptools

from services.common.clock import Clock
from services.common.errors import BodyTooLarge, HeadersTooLarge, Invalid, MalformedHttp
from services.common.limits import Limits
from services.gateway.http.message import HttpRequest

_OFFERS = ("upgrade", "http2-settings")
"""Headers, and words of `Connection`, by which a client offers to go on in another protocol."""


class RequestParser:
    """One connection's parser. Its `on_*` methods are called by httptools.

    `take` gets each whole request; `expects_continue` is called when a client waits for leave to send a body.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Clock,
        take: Callable[[HttpRequest], None],
        expects_continue: Callable[[], None],
    ) -> None:
        self._limits = limits
        self._head_size_max = limits.header_size_bytes_max
        self._clock = clock
        self._take = take
        self._expects_continue = expects_continue
        self._http = httptools.HttpRequestParser(self)
        self._refusal: Invalid | None = None
        self._requests_in_feed = 0
        self.in_head = False
        self.in_body = False
        self._start_message()

    def feed(self, data: bytes) -> None:
        """Parse on; raises `Invalid` for what the server does not take; feed nothing after that."""
        self._requests_in_feed = 0
        was_in_trailers = self._is_in_trailers
        unparsed = data
        while unparsed:
            unparsed = self._parse(unparsed)
        # A read that ends one request and begins the next says little about either.
        is_all_head = self.in_head or (was_in_trailers and self._is_in_trailers)
        if is_all_head and self._requests_in_feed == 0:
            self._count_unfinished(len(data))

    def close(self) -> None:
        """Let go of the callbacks, which hold the connection."""
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
        lines = [
            f"{name}: {value}".encode("latin-1") for name, value in [*fields, ("connection", ",".join(left))]
        ]
        return b"\r\n".join([b"%b %b HTTP/%b" % (method, self._target, version), *lines, b"", b""])

    def _start_message(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._unfinished_size = 0
        self._is_in_trailers = False
        self._chunks: list[bytes] = []
        self._body_size = 0

    def _refuse(self, refusal: Invalid) -> NoReturn:
        self._refusal = refusal
        raise refusal

    def _count_unfinished(self, size: int) -> None:
        """Count a read in which the head has not ended: its last header, unfinished, is kept unseen."""
        self._unfinished_size += size
        if self._unfinished_size > self._head_size_max:
            self._refuse_head()

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
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        present = self._headers.get(key)
        self._headers[key] = text if present is None else f"{present}, {text}"

    def on_headers_complete(self) -> None:
        """Refuse a head without a host and a body that is declared too large; let a waiting client send."""
        if self._http.should_upgrade():
            return
        self.in_head = False
        self.in_body = True
        if "host" not in self._headers and self._http.get_http_version() == "1.1":
            self._refuse(MalformedHttp("HTTP/1.1 needs a Host header"))
        self._unfinished_size = 0
        self._check_declared(self._headers.get("content-length", "").lstrip("0"))
        if "expect" in self._headers and self._headers["expect"].lower() == "100-continue":
            self._expects_continue()

    def on_chunk_header(self) -> None:
        """Take notice that a chunk's size is known: after the last one's, trailers may come."""
        self._is_in_trailers = True

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        self._is_in_trailers = False
        self._body_size += len(part)
        if self._body_size > self._limits.body_size_bytes_max:
            self._refuse_body()
        self._chunks.append(part)

    def on_message_complete(self) -> None:
        """Hand over the request."""
        if self._http.should_upgrade():
            return  # only the head of it; it comes again
        self.in_body = False
        self._requests_in_feed += 1
        if self._requests_in_feed > self._limits.pipelined_requests_max:
            self._refuse(MalformedHttp("too many pipelined requests"))
        request = self._request()
        self._start_message()
        self._take(request)

    def _check_declared(self, digits: str) -> None:
        size_max = self._limits.body_size_bytes_max
        if len(digits) > len(str(size_max)) or int(digits or "0") > size_max:
            self._refuse_body()

    def _refuse_body(self) -> None:
        self._refuse(BodyTooLarge(f"the body is over {self._limits.body_size_bytes_max} bytes"))

    def _request(self) -> HttpRequest:
        return HttpRequest(
            method=self._http.get_method().decode("latin-1"),
            path=self._path(),
            headers=self._headers,
            body=b"".join(self._chunks),
            keep_alive=self._http.should_keep_alive(),
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
