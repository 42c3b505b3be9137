"""Verifying JWTs."""

import base64
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from services.common.credentials import JwtSettings
from services.common.domain import ServiceClass
from services.common.errors import KeysUnavailable, Unauthenticated
from services.common.limits import DEFAULTS, Limits
from services.gateway.tenants.key_set import SigningKey
from services.gateway.tenants.live_keys import LiveKeys
from services.gateway.tenants.read import is_tenant_name

RETRY_AFTER_MS = 1_000
EXPIRES_S_MAX = 253_402_300_799
"""The end of the year 9999: later times are mistakes, and some are too large for a clock."""
ALGORITHMS = ("RS256", "ES256")

Wall = Callable[[], float]
"""Seconds since 1970, as tokens count."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a verified token says."""

    tenant: str
    service_class: ServiceClass | None
    expires_s: float
    """When it is no longer taken, clock skew included."""


class TokenVerifier:
    """Verifies signature, issuer, audience and times; remembers whom it has verified.

    The algorithm is the key's own, never the token's to choose. Nothing here waits: a key that is not
    known is fetched in the background.
    """

    def __init__(
        self, settings: JwtSettings, keys: LiveKeys, limits: Limits = DEFAULTS, wall: Wall = time.time
    ) -> None:
        self._settings, self._keys, self._wall = settings, keys, wall
        self._skew_s = settings.clock_skew_ms / 1e3
        self._tokens_max, self._chars_max = limits.verified_tokens_max, limits.token_chars_max
        self._verified: OrderedDict[bytes, Token] = OrderedDict()
        self._version = keys.version

    def verify(self, text: str) -> Token:
        """The token; raises `Unauthenticated`, or `KeysUnavailable` while its key is being fetched."""
        if len(text) > self._chars_max:
            raise Unauthenticated(f"The token is longer than {self._chars_max} characters.")
        if self._version != self._keys.version:
            self._version = self._keys.version
            self._verified.clear()
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        token = self._verified.get(digest)
        if token is None or token.expires_s <= self._wall():
            token = self._verified[digest] = self._verify(text)
            if len(self._verified) > self._tokens_max:
                self._verified.popitem(last=False)
        return token

    def _verify(self, text: str) -> Token:
        try:
            claims = self._claims(text)
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has expired.") from None
        except (jwt.PyJWTError, RecursionError, UnicodeError) as error:
            raise Unauthenticated(f"The token is not valid: {error}") from None
        except (ArithmeticError, TypeError, ValueError):  # times that are no times, such as 1e400 or a list
            raise Unauthenticated("The token is not valid: a claim has an impossible value") from None
        tenant = _claim(claims, self._settings.tenant_claim)
        if not is_tenant_name(tenant):
            raise Unauthenticated(f"The token's claim {self._settings.tenant_claim} names no tenant.")
        expires_s = int(claims["exp"])
        if expires_s > EXPIRES_S_MAX:
            raise Unauthenticated("The token is not valid: it expires after the year 9999")
        return Token(str(tenant), self._service_class(claims), expires_s + self._skew_s)

    def _claims(self, text: str) -> dict[str, Any]:
        header = _header(text)
        if header.get("alg") not in ALGORITHMS:  # before the key, so that `none` does not cause a fetch
            raise jwt.InvalidAlgorithmError(f"only {' and '.join(ALGORITHMS)} are taken")
        signer = self._signer(str(header.get("kid", "")))
        return jwt.decode(
            text,
            signer.key,
            algorithms=[signer.algorithm],
            audience=self._settings.audience,
            issuer=self._settings.issuer,
            leeway=self._skew_s,
            options={"require": ["exp", "iss", "aud"]},
        )

    def _signer(self, kid: str) -> SigningKey:
        signer = self._keys.current.find(kid)
        if signer is not None:
            return signer
        if self._keys.ask():
            raise KeysUnavailable("The key of this token is being looked up.", retry_after_ms=RETRY_AFTER_MS)
        raise jwt.InvalidKeyError("no key of that id is known")

    def _service_class(self, claims: Mapping[str, Any]) -> ServiceClass | None:
        name = _claim(claims, self._settings.class_claim)
        if name is None:
            return None
        try:
            return ServiceClass[str(name).upper()]
        except KeyError:
            raise Unauthenticated(f"The token's claim {self._settings.class_claim} names no class.") from None


def _header(text: str) -> dict[str, Any]:
    """What a token says of itself, which nobody has signed yet; raises `DecodeError`.

    PyJWT would decode the whole token for it, which is most of the work, and again to verify it.
    """
    head = text.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError):
        raise jwt.DecodeError("no header") from None
    if not isinstance(header, dict):
        raise jwt.DecodeError("no header")
    return header


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of that name, else where its dots lead; None where there is none."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
