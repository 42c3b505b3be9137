"""Which web pages may ask from their visitors' browsers, as browsers want to be told."""

from collections.abc import Collection, Mapping

from services.gateway.http import HttpRequest, HttpResponse
from services.gateway.http.message import Header

EVERY = "*"
MAX_AGE_S = 600
EXPOSED = "*"
"""Answers' own headers, which a page could not read otherwise."""


class Cors:
    """Cross-origin requests (the Fetch standard's CORS protocol): off without origins."""

    def __init__(self, origins: Collection[str]) -> None:
        """Each is a scheme, host and port as browsers send them in `Origin`; `*` is every one."""
        self._origins = frozenset(origins)

    def headers(self, request: Mapping[str, str]) -> tuple[Header, ...]:
        """For the answer to a page that may read it; none for all others."""
        if not self._origins:
            return ()
        origin = request.get("origin", "")
        if not origin or not self._allows(origin):
            return (("vary", "origin"),)
        return (
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", EXPOSED),
            ("vary", "origin"),
        )

    def is_preflight(self, request: HttpRequest) -> bool:
        """Whether a browser asks here, before the request itself, whether a page may send it."""
        return (
            bool(self._origins)
            and request.method == "OPTIONS"
            and "origin" in request.headers
            and "access-control-request-method" in request.headers
        )

    def preflight(self, request: HttpRequest) -> HttpResponse:
        """The answer to a preflight; without leave for pages that may not."""
        if not self._allows(request.headers["origin"]):
            return HttpResponse(204)
        asked = request.headers.get("access-control-request-headers", "")
        headers = [
            ("access-control-allow-methods", "GET, POST"),
            ("access-control-max-age", str(MAX_AGE_S)),
            *([("access-control-allow-headers", asked)] if asked else []),
        ]
        return HttpResponse(204, headers=tuple(headers))

    def _allows(self, origin: str) -> bool:
        return EVERY in self._origins or origin in self._origins
