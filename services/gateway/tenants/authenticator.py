"""From the headers of a request to its caller."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from services.common.credentials import KEY_PREFIX, key_id
from services.common.errors import MeshError, NotAllowed, Unauthenticated
from services.gateway.tenants.cache_salt import cache_salt
from services.gateway.tenants.caller import ANONYMOUS, Caller
from services.gateway.tenants.internals import EVERYBODY, Internals
from services.gateway.tenants.live import LiveTenants
from services.gateway.tenants.metrics import Metrics

if TYPE_CHECKING:  # it brings cryptography, which keys do not need
    from services.gateway.tenants.token import TokenVerifier

KEY_HEADERS = ("x-api-key", "api-key")
"""As Anthropic's and Azure's clients send a key; `authorization` comes first."""


class Authenticator:
    """Synchronous and quick: a hash for a key, a look-up for a token that has been seen before.

    Without tenants and tokens everybody is anonymous, whatever they send. With tokens alone every tenant
    that the issuer names is taken, with no limits of its own.
    """

    def __init__(
        self,
        tenants: LiveTenants | None,
        tokens: "TokenVerifier | None",
        metrics: Metrics,
        internals_for: str = EVERYBODY,
    ) -> None:
        self._tenants, self._tokens, self._metrics = tenants, tokens, metrics
        self.is_open = tenants is None and tokens is None
        """Whether everybody is anonymous."""
        self.shows_internals_to_all = internals_for == EVERYBODY
        """Whether what is inside the mesh is shown to who has no credential, too."""
        self._internals = Internals(internals_for)

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """Who sends these headers (or this gRPC metadata), whose names are in lower case.

        Raises `Unauthenticated`, `NotAllowed` for a valid token of an unknown tenant, or `KeysUnavailable`.
        """
        if self.is_open:
            return self._internals.judge(ANONYMOUS)
        try:
            return self._internals.judge(self._identify(headers))
        except MeshError as error:
            self._metrics.refused.labels(error.reason).inc()
            raise

    def _identify(self, headers: Mapping[str, str]) -> Caller:
        credential = _credential(headers)
        if self._tokens is not None and credential.count(".") == 2:  # no key has a dot
            return self._of_token(credential, self._tokens)
        return self._of_key(credential)

    def _of_key(self, key: str) -> Caller:
        caller = self._tenants.current.by_key(key) if self._tenants is not None else None
        if caller is None:
            _refuse(key)
        return caller

    def _of_token(self, text: str, tokens: "TokenVerifier") -> Caller:
        token = tokens.verify(text)
        caller = self._by_name(token.tenant)
        if token.service_class in (None, caller.service_class):
            return caller
        return dataclasses.replace(caller, service_class=token.service_class)

    def _by_name(self, tenant: str) -> Caller:
        if self._tenants is None:
            return Caller(tenant=tenant, cache_salt=cache_salt(tenant, "", ""))
        caller = self._tenants.current.by_name(tenant)
        if caller is None:
            raise NotAllowed(f"The token's tenant {tenant} has no access here.")
        return caller


def is_claimed(headers: Mapping[str, str]) -> bool:
    """Whether a request says who sends it."""
    return any(name in headers for name in ("authorization", *KEY_HEADERS))


def _credential(headers: Mapping[str, str]) -> str:
    """The key or token as it was sent; raises `Unauthenticated` where there is none."""
    scheme, _, credential = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and credential.strip():
        return credential.strip()
    for name in KEY_HEADERS:
        if credential := headers.get(name, "").strip():
            return credential
    raise Unauthenticated(
        "No API key was sent. Send it in the authorization header, as Bearer KEY, or in x-api-key."
    )


def _refuse(credential: str) -> NoReturn:
    """The key's id helps its owner to find it; the rest of it is nobody's business."""
    shown = f"{KEY_PREFIX}{key_id(credential)}_***" if key_id(credential) else "***"
    raise Unauthenticated(f"Incorrect API key: {shown}.")
