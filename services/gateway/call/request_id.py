"""Names that callers give their requests."""

import os
import re

from services.common.errors import InvalidField

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:@/+=-]+")


def new_request_id() -> str:
    """A name for a request whose caller gives none."""
    return os.urandom(16).hex()


def kept_request_id(text: str, chars_max: int) -> str:
    """A caller's own name where it is short and printable ASCII; else a new one, for a name is no reason to
    refuse a request.
    """
    is_usable = 0 < len(text) <= chars_max and text.isascii() and text.isprintable()
    return text if is_usable else new_request_id()


def check_request_id(text: str, chars_max: int, field: str) -> None:
    """Raise `InvalidField` for a name that logs and headers cannot carry as it is."""
    if len(text) > chars_max or not _REQUEST_ID.fullmatch(text):
        raise InvalidField(f"{field}: at most {chars_max} letters, digits and ._:@/+=-", field=field)
