"""Who may send a body, decided by the request's head."""

from collections.abc import Collection, Mapping

from services.common.errors import UnsupportedMediaType
from services.common.limits import Limits
from services.gateway.call.parts import Authenticator, Quotas
from services.gateway.http import Admission, HttpRequest, Routes
from services.gateway.rest.cors import Cors
from services.gateway.tenants import ANONYMOUS, Caller
from services.gateway.tenants.authenticator import is_claimed

_FROM_BROWSER = ("origin", "sec-fetch-site")
_JSON = "application/json"


class Doorway:
    """Lets in callers that are known, for routes that exist, with bodies that the route has a use for."""

    def __init__(
        self,
        authenticator: Authenticator,
        routes: Routes,
        open_paths: Collection[str],
        cors: Cors,
        quotas: Quotas,
        limits: Limits,
    ) -> None:
        """`open_paths` need no credential."""
        self._authenticator = authenticator
        self._routes = routes
        self._open_paths = open_paths
        self._cors = cors
        self._quotas = quotas
        self._limits = limits

    def admit(self, head: HttpRequest) -> Admission:
        """Who asks, and how long the body may be.

        Raises `Unauthenticated`, `NotAllowed`, `UnsupportedMediaType`, `RouteNotFound`, `MethodNotAllowed`,
        and `QuotaExceeded` for a caller whose requests are used up.
        """
        if self._cors.is_preflight(head):  # browsers send no credential with it
            return Admission(self._limits.unread_body_size_bytes_max)
        caller = self._identify(head)
        self._routes.find(head)
        if head.method != "POST":
            return Admission(self._limits.unread_body_size_bytes_max, caller)
        _check_declared(head.headers)
        self._quotas.check(caller)
        return Admission(self._limits.body_size_bytes_max, caller)

    def _identify(self, head: HttpRequest) -> Caller:
        if head.path in self._open_paths and not (head.path == "/ready" and is_claimed(head.headers)):
            return ANONYMOUS
        return self._authenticator.identify(head.headers)


def _check_declared(headers: Mapping[str, str]) -> None:
    """Raise `UnsupportedMediaType` for a body that a browser sent without asking whether it may.

    A page of any site can make its visitors' browsers post plain text and forms; JSON they ask about first.
    """
    if not any(name in headers for name in _FROM_BROWSER):
        return
    declared = headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared != _JSON and not declared.endswith("+json"):
        raise UnsupportedMediaType(f"a browser's request needs the header Content-Type: {_JSON}")
