"""The public keys that tokens are signed with: a JWKS document (RFC 7517)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from services.common.errors import BadSetting

RSA_BITS_MIN = 2_048
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}
"""By key type and curve; tokens of every other algorithm are refused, `none` and HMAC above all."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One public key, and the only algorithm that it is used with."""

    key: Any
    algorithm: str


@dataclass(frozen=True, slots=True)
class KeySet:
    """All keys of one document by id; a key without one has "" for its id."""

    keys: Mapping[str, SigningKey] = field(default_factory=dict)

    def find(self, kid: str) -> SigningKey | None:
        """The key that a token names; a token that names none gets the only one there is."""
        if not kid and len(self.keys) == 1:
            return next(iter(self.keys.values()))
        return self.keys.get(kid)


def read_key_set(document: bytes, source: str) -> KeySet:
    """The usable keys of a JWKS document; raises `BadSetting` for what is none or holds none."""
    try:
        listed = json.loads(document)["keys"]
        entries = [entry for entry in listed if isinstance(entry, dict)]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise BadSetting(f"{source}: is no JWKS document") from None
    keys: dict[str, SigningKey] = {}
    for kid, key in _usable(entries):
        keys.setdefault(kid, key)
    if not keys:
        raise BadSetting(f"{source}: holds no public RSA or P-256 key for signatures")
    return KeySet(keys)


def _usable(entries: list[dict[str, Any]]) -> Iterator[tuple[str, SigningKey]]:
    """Keys of other kinds and uses are passed over: documents hold them for other readers."""
    for entry in entries:
        curve = entry.get("crv") if entry.get("kty") == "EC" else None
        algorithm = _ALGORITHMS.get((str(entry.get("kty")), curve))
        is_for_us = entry.get("use", "sig") == "sig" and entry.get("alg", algorithm) == algorithm
        if algorithm is None or not is_for_us or "d" in entry:
            continue
        try:
            key = jwt.PyJWK(entry, algorithm).key
        except jwt.PyJWTError:
            continue
        if algorithm == "RS256" and key.key_size < RSA_BITS_MIN:
            continue
        yield str(entry.get("kid", "")), SigningKey(key, algorithm)
