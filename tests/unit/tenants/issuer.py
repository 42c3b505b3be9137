"""An issuer of tokens, for tests."""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from prometheus_client import CollectorRegistry

from services.common.clock import Clock, ManualClock
from services.common.credentials import JwtSettings
from services.gateway.tenants.key_set import KeySet, read_key_set
from services.gateway.tenants.live_keys import LiveKeys
from services.gateway.tenants.metrics import Metrics
from services.gateway.tenants.token import TokenVerifier

ISSUER, AUDIENCE = "https://issuer.test", "pdmesh"
SETTINGS = JwtSettings(
    jwks="keys.json", issuer=ISSUER, audience=("elsewhere", AUDIENCE), clock_skew_ms=30_000
)
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
KEYS = {"RS256": RSA, "ES256": EC}


def jwk(key: Any, kid: str, **more: str) -> dict[str, Any]:
    """The public key as a JWKS document lists it."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    listed: dict[str, Any] = json.loads(algorithm.to_jwk(key.public_key()))
    return {key: value for key, value in listed.items() if key != "key_ops"} | {"kid": kid} | more


def document(*entries: dict[str, Any]) -> bytes:
    """A JWKS document."""
    return json.dumps({"keys": entries}).encode()


def key_set() -> KeySet:
    """The issuer's keys: `RS256` and `ES256`, by these ids."""
    return read_key_set(document(jwk(RSA, "RS256"), jwk(EC, "ES256")), "keys.json")


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims, with changes; None leaves one out."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": now + 300,
        "nbf": now - 5,
        "iat": now - 5,
        "tenant": "acme",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(algorithm: str = "RS256", key: Any = None, *, kid: str | None = "", **changes: Any) -> str:
    """A signed token; `kid` is the algorithm's own where not given, None leaves it out."""
    headers = {} if kid is None else {"kid": kid or algorithm}
    signer = key or KEYS[algorithm]
    return jwt.encode(claims(**changes), signer, algorithm=algorithm, headers=headers)


def verifier(
    settings: JwtSettings = SETTINGS, keys: KeySet | None = None, clock: Clock | None = None, **more: Any
) -> tuple[TokenVerifier, LiveKeys]:
    """A verifier that has the issuer's keys, and its keys."""
    live = LiveKeys(settings.jwks, Metrics(CollectorRegistry()), clock or ManualClock(1e6))
    live.current = key_set() if keys is None else keys
    return TokenVerifier(settings, live, **more), live
