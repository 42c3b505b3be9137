"""Who may see what is inside the mesh: metrics, models in /ready, reflection, receipts, workers' names."""

import dataclasses

from services.common.errors import Ended, MeshError
from services.gateway.tenants.caller import Caller

EVERYBODY, TENANTS, ADMINS = "everybody", "tenants", "admins"
AUDIENCES = (EVERYBODY, TENANTS, ADMINS)
JUDGED_MAX = 16_384
"""Callers that are remembered; past it they are looked at anew."""


class Internals:
    """Marks callers by the one setting that says who may see them."""

    def __init__(self, audience: str) -> None:
        """`audience` is one of `AUDIENCES`."""
        self._audience = audience
        self._judged: dict[Caller, Caller] = {}

    def judge(self, caller: Caller) -> Caller:
        """The caller, knowing what it may see; the same object each time."""
        if self._audience == EVERYBODY:
            return caller
        judged = self._judged.get(caller)
        if judged is None:
            if len(self._judged) >= JUDGED_MAX:
                self._judged.clear()
            sees = caller.is_admin if self._audience == ADMINS else not caller.is_anonymous
            judged = self._judged[caller] = dataclasses.replace(caller, sees_internals=sees)
        return judged


def told(error: MeshError, caller: Caller) -> MeshError:
    """What a caller is told of an error; of a request's end inside the mesh perhaps only what kind it was."""
    if caller.sees_internals or not isinstance(error, Ended):
        return error
    shown = type(error)(field=error.field, retry_after_ms=error.retry_after_ms)
    shown.__cause__ = error  # what the log tells
    return shown
