"""What is decided about a request once its head is complete, before any of its body is kept."""

from collections.abc import Callable

from services.common.domain.record import record
from services.gateway.http.message import HttpRequest
from services.gateway.tenants import ANONYMOUS, Caller


@record
class Admission:
    """Leave to send the body."""

    body_size_bytes_max: int
    """413 past it."""
    caller: Caller = ANONYMOUS


Admit = Callable[[HttpRequest], Admission]
"""Decides by a request without its body; raises a `MeshError` for one whose body is not to be read."""
