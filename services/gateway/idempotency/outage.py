"""Whether the journal is away, and saying so once."""

import logging

from services.common.clock import Clock
from services.common.errors import StoreUnavailable

RETRY_MS = 1_000.0
"""While it is away, one request in this time tries again; the others go on without at once."""

_log = logging.getLogger(__name__)


class Outage:
    """Begins with a failure and ends with a success; each is logged once."""

    def __init__(self, clock: Clock) -> None:
        self.is_on = False
        self._clock = clock
        self._why = ""
        self._try_ms = 0.0

    def check(self) -> None:
        """Raise `StoreUnavailable` rather than have a request wait for the journal again so soon."""
        now_ms = self._clock.now_ms()
        if self.is_on and now_ms < self._try_ms:
            raise StoreUnavailable(self._why)
        self._try_ms = now_ms + RETRY_MS

    def begin(self, away: StoreUnavailable) -> None:
        """Take notice of a failure."""
        if not self.is_on:
            _log.error("idempotency keys reach only this gateway: %s", away.message)
            self.is_on = True
            self._try_ms = self._clock.now_ms() + RETRY_MS
        self._why = away.message

    def end(self) -> None:
        """Take notice of a success."""
        if self.is_on:
            _log.warning("idempotency keys reach all gateways again")
        self.is_on = False
