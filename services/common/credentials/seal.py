"""Encryption of what callers were answered, where it lies in a store that others may read."""

import hashlib
import os
from collections.abc import Sequence

from services.common.errors import BadSetting

NONCE_BYTES = 12
SECRET_CHARS_MIN = 16


class Unsealed(ValueError):
    """What is stored was sealed with another secret, or not at all."""


class Seal:
    """AES-256-GCM under a key made from the first secret; all of them open. Without any, nothing changes."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Raises `BadSetting` for a secret that could be guessed."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # not needed without secrets

        for secret in secrets:
            if len(secret) < SECRET_CHARS_MIN:
                raise BadSetting(f"--answers-secret: a secret has at least {SECRET_CHARS_MIN} characters")
        self._ciphers = [AESGCM(hashlib.sha256(b"pdmesh answers " + s.encode()).digest()) for s in secrets]

    def close(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt; `context` must be the same to open it. Nothing stays nothing."""
        if not self._ciphers or not plain:
            return plain
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt; raises `Unsealed`."""
        from cryptography.exceptions import InvalidTag

        if not self._ciphers or not sealed:
            return sealed
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
            except (InvalidTag, ValueError):
                continue
        raise Unsealed("it was encrypted with another secret, or not at all")
