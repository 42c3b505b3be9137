"""Names that callers give their requests."""

import os
import re

from services.common.errors import InvalidField

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:@/+=-]+")


def new_request_id() -> str:
    """A name for a request whose caller gives none."""
    return os.urandom(16).hex()


def check_request_id(text: str, chars_max: int, field: str) -> None:
    """Raise `InvalidField` for a name that logs and headers cannot carry as it is."""
    if len(text) > chars_max or not _REQUEST_ID.fullmatch(text):
        raise InvalidField(f"{field}: at most {chars_max} letters, digits and ._:@/+=-", field=field)
