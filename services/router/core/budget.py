"""The global retry budget: retries may be a share of the requests, so that failures do not multiply load."""


class RetryBudget:
    """A bucket that each admitted request fills a little and each retry empties by one.

    Its size is the burst of retries that one dying worker may cause.
    """

    def __init__(self, burst: float, per_request: float) -> None:
        self._burst, self._per_request = burst, per_request
        self._left = burst

    @property
    def left(self) -> float:
        """Retries that may be made now."""
        return self._left

    def request_admitted(self) -> None:
        """One more request."""
        self._left = min(self._burst, self._left + self._per_request)

    def take(self) -> bool:
        """Spend one retry; False when none is left."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
