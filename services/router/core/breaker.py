"""Circuit breakers: a worker, or a prefill-decode pair, that keeps failing gets no work for a while."""

FAULTS_TO_OPEN = 3
COOLDOWN_MS_MIN, COOLDOWN_MS_MAX = 2_000.0, 60_000.0


class Breaker:
    """Counts consecutive faults. Closed -> open after some; after a cooldown half-open; then one success
    closes it, one fault opens it again for twice as long.

    Only faults of the thing watched are told to it: never a caller's mistake, never a cancellation.
    """

    __slots__ = ("_cooldown_ms", "_faults", "_open_until_ms", "is_closed", "is_held")

    def __init__(self) -> None:
        self._faults = 0
        self._cooldown_ms = COOLDOWN_MS_MIN
        self._open_until_ms: float | None = None
        self.is_held = False
        """Open until somebody closes it by hand: its results were wrong, not just missing."""
        self.is_closed = True
        """Neither open nor half-open, which needs no clock to know."""

    def fault(self, now_ms: float) -> bool:
        """One more failure; True when the breaker opens by it."""
        self._faults += 1
        was_half_open = self.is_half_open(now_ms)
        if self.is_open(now_ms) or (self._faults < FAULTS_TO_OPEN and not was_half_open):
            return False
        if was_half_open:
            self._cooldown_ms = min(self._cooldown_ms * 2, COOLDOWN_MS_MAX)
        self._open_until_ms = now_ms + self._cooldown_ms
        self.is_closed = False
        return True

    def success(self) -> bool:
        """It works; True when the breaker closes by it."""
        was_closed = self.is_closed
        self._faults = 0
        self._open_until_ms, self._cooldown_ms = None, COOLDOWN_MS_MIN
        self.is_closed = not self.is_held
        return self.is_closed and not was_closed

    def hold(self) -> None:
        """Open it until `release`."""
        self.is_held, self.is_closed = True, False

    def release(self) -> bool:
        """Close it by hand; True when it was not closed."""
        self.is_held = False
        return self.success()

    def is_open(self, now_ms: float) -> bool:
        """Whether it lets nothing through."""
        return self.is_held or (self._open_until_ms is not None and now_ms < self._open_until_ms)

    def is_half_open(self, now_ms: float) -> bool:
        """Whether it lets a probe through."""
        return not self.is_held and self._open_until_ms is not None and now_ms >= self._open_until_ms

    @property
    def open_until_ms(self) -> float | None:
        """When it will be half-open; `None` while closed."""
        return self._open_until_ms
