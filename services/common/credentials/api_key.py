"""API keys. A key is shown once and kept only as a record, from which it cannot be found again.

A key reads `pdm_<id>_<secret>`. The id finds the record and may be logged. The secret has 256 random bits,
so one round of SHA-256 protects it: there is nothing to guess, which is what slow hashes are for.
A record reads `pdm1:<id>:<SHA-256 of the whole key, in hex>`; its first part names this scheme.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

KEY_PREFIX = "pdm_"
SCHEME = "pdm1"
ID_BYTES, SECRET_BYTES = 6, 32

_KEY = re.compile(r"pdm_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_RECORD = re.compile(r"pdm1:([0-9a-f]{12}):([0-9a-f]{64})")


def new_key() -> str:
    """A key that nobody has yet."""
    return f"{KEY_PREFIX}{secrets.token_hex(ID_BYTES)}_{secrets.token_urlsafe(SECRET_BYTES)}"


def key_id(key: str) -> str:
    """The public part of a key; "" for what is no key."""
    found = _KEY.fullmatch(key)
    return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is kept of a key."""

    key_id: str
    digest: bytes

    @classmethod
    def of(cls, key: str) -> "KeyRecord":
        """The record of a key; raises ValueError for what is no key."""
        if not (found := key_id(key)):
            raise ValueError(f"a key begins with {KEY_PREFIX} and comes from `pdmesh key new`")
        return cls(found, _digest(key))

    @classmethod
    def parse(cls, text: str) -> "KeyRecord":
        """The record that `str` wrote; raises ValueError, without the text: it may be a key."""
        found = _RECORD.fullmatch(text)
        if found is None:
            raise ValueError(f"a key's record reads {SCHEME}:<id>:<hash>, as `pdmesh key new` prints it")
        return cls(found[1], bytes.fromhex(found[2]))

    def __str__(self) -> str:
        return f"{SCHEME}:{self.key_id}:{self.digest.hex()}"

    def matches(self, key: str) -> bool:
        """Whether this is the record of `key`; takes the same time wherever they differ."""
        return hmac.compare_digest(self.digest, _digest(key))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
