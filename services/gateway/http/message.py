"""Requests and responses as handlers see them, and the bytes of a response's head."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from services.common.domain.record import record
from services.common.errors import MeshError
from services.gateway.shared_room import Holding
from services.gateway.tenants import ANONYMOUS, Caller

JSON = "application/json"

Header = tuple[str, str]

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode("ascii") for s in HTTPStatus}
_NO_LINE_BREAKS = {ord("\r"): " ", ord("\n"): " ", 0: " "}


@dataclass(slots=True)
class HttpRequest:
    """One request, whole once it is handled. Header names are lower case; a repeated header's values are
    joined by commas."""

    method: str
    path: str
    """Percent-decoded, without the query."""
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool
    chunks_allowed: bool
    """False for an HTTP/1.0 client, whose streamed answer ends with the connection."""
    received_ms: float
    """When the last byte came, by the server's clock."""
    query: str = ""
    """What follows the path's question mark, as it came."""
    caller: Caller = ANONYMOUS
    """Who sent it, by its head."""
    refusal: MeshError | None = None
    """Why it is to be refused, where its head has decided that already; it has no body then."""
    holding: Holding | None = None
    """What its body takes of the memory that all bodies share."""

    is_counted: bool = False
    """Whether it has been taken from its caller's requests a minute."""

    def count(self) -> None:
        """Take notice that it has been counted."""
        self.is_counted = True

    def release(self) -> None:
        """Let go of the body: the request is over, or somebody has made something else of it."""
        self.body = b""
        if self.holding is not None:
            self.holding.release()


@record
class HttpResponse:
    """One whole response; the server adds the length, the date and what the connection needs."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[Header, ...] = ()


def encode_head(status: int, headers: Iterable[Header]) -> bytes:
    """Status line and headers with the empty line; line breaks inside a value become spaces."""
    line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Error\r\n".encode("ascii")
    fields = [f"{name}: {value}" for name, value in headers]
    text = "\n".join(fields)
    if "\r" in text or "\0" in text or text.count("\n") >= len(fields):
        fields = [field.translate(_NO_LINE_BREAKS) for field in fields]
    return line + "\r\n".join([*fields, "", ""]).encode("latin-1", "replace")
