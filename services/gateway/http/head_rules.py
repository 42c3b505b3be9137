"""What a head must be for its request to be framed as everybody between client and server frames it."""

import re
from collections.abc import Mapping

from services.common.errors import (
    HttpVersionUnsupported,
    MalformedHttp,
    UnsupportedCoding,
    UnsupportedMediaType,
)

VERSIONS = ("1.0", "1.1")
_HOST = re.compile(r"(?:[A-Za-z0-9\-._~%!$&'()*+,;=]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")


def check_head(version: str, headers: Mapping[str, str], host_count: int) -> None:
    """Raise an `Invalid` for a head that could be understood in two ways, or not at all."""
    if version not in VERSIONS:
        raise HttpVersionUnsupported(f"HTTP/{version} is not supported; use HTTP/1.1")
    _check_host(version, headers, host_count)
    coding = headers.get("transfer-encoding")
    if coding is not None and coding.strip().lower() != "chunked":
        raise UnsupportedCoding(
            "the body's Transfer-Encoding is not supported; only chunked is, and only by itself"
        )
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType("compressed bodies are not supported; send the body without encoding")


def must_close(version: str, headers: Mapping[str, str]) -> bool:
    """Whether nothing may follow on the connection: chunks are not known to all of HTTP/1.0, so that somebody
    in between may see the body's end elsewhere (RFC 9112, section 6.1)."""
    return version == "1.0" and "transfer-encoding" in headers


def _check_host(version: str, headers: Mapping[str, str], host_count: int) -> None:
    if host_count == 0 and version == "1.1":
        raise MalformedHttp("HTTP/1.1 needs a Host header")
    if host_count > 1:
        raise MalformedHttp("there is more than one Host header")
    if not _HOST.fullmatch(headers.get("host", "")):
        raise MalformedHttp("the Host header is no host name")
