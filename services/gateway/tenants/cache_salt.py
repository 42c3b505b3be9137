"""Salts that keep the prefix caches of tenants apart."""

import hashlib
import hmac

SALT_BYTES = 16


def cache_salt(tenant: str, group: str, secret: str) -> str:
    """The salt of a tenant, or that of its group; never empty, the same in every gateway.

    Callers cannot choose this salt, so the names alone would do. The secret keeps salts from being guessed by
    whoever reads a worker's KV events.
    """
    kind, name = ("group", group) if group else ("tenant", tenant)
    message = f"{kind}\0{name}".encode()
    return hmac.new(b"pdmesh-cache-salt\0" + secret.encode(), message, hashlib.sha256).hexdigest()[
        : 2 * SALT_BYTES
    ]


def narrowed_salt(tenants: str, asked: str) -> str:
    """The salt of a request: its tenant's, and mixed with it what its caller asks for, empty for nothing.

    Requests share cached prompts only where both are the same, so a caller can only narrow who shares.
    """
    if not asked:
        return tenants
    key = b"pdmesh-narrowed-salt\0" + tenants.encode()
    return hmac.new(key, asked.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[: 2 * SALT_BYTES]
