"""What makes two requests the same: who asks, the key, and the body."""

import hashlib
from collections.abc import Mapping

from services.common.errors import InvalidField
from services.gateway.http import HttpRequest

IDEMPOTENCY_KEY = "idempotency-key"
REQUEST_ID = "x-request-id"
OFF = "off"
HEADERS = (IDEMPOTENCY_KEY, REQUEST_ID, OFF)
"""What the setting may be: the header alone, the request's id where there is none, or neither."""


def key_of(headers: Mapping[str, str], header: str, chars_max: int) -> str:
    """The key of a request, empty for none; raises `InvalidField` for one that is too long."""
    if header == OFF:
        return ""
    key = headers.get(IDEMPOTENCY_KEY, "")
    if len(key) > chars_max:
        raise InvalidField(f"{IDEMPOTENCY_KEY}: at most {chars_max} characters", field=IDEMPOTENCY_KEY)
    return key or (headers.get(REQUEST_ID, "") if header == REQUEST_ID else "")


def name_of(tenant: str, key: str) -> str:
    """A name for the tenant's key, of fixed length."""
    return hashlib.sha256(f"{tenant}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()


def digest_of(request: HttpRequest) -> str:
    """A digest of what is asked: method, path and body."""
    asked = hashlib.sha256(f"{request.method} {request.path}\n".encode())
    asked.update(request.body)
    return asked.hexdigest()
