"""What is measured from one signal to the next: arrivals and their trend, a worker's pace, time in a seat."""

import math
from dataclasses import replace

from services.router.core.fit import DecayedFit
from services.router.core.scaling.demand import TierDemand
from services.router.core.scaling.signal import TierSignal
from services.router.core.scaling.trend import Trend

SLOW_WINDOWS = 10
"""The slow average's window, in windows of the fast one."""
SIGNIFICANT = 3.0
"""The two averages differ in earnest from so many standard errors on."""
PACE_WINDOW_MS = 60_000.0
BUSY_MS_MIN = 500.0
"""A pace is believed after so much busy time."""
STEP_SAMPLES = 100


class Decayed:
    """A sum whose parts fade with age, as exp(-age / window)."""

    def __init__(self, window_ms: float) -> None:
        self._window_ms, self.value = window_ms, 0.0

    def add(self, amount: float, elapsed_ms: float) -> None:
        """So much more, after so much time."""
        self.value = self.value * math.exp(-elapsed_ms / self._window_ms) + amount


class Arrivals:
    """Work arriving per millisecond.

    The level is a slow average while a fast one differs from it only by chance: for work that arrives
    independently in pieces a, the variance of an exponential average over T is E[sum of a^2 per time] / 2T.
    """

    def __init__(self, window_ms: float) -> None:
        self._fast_ms, self._slow_ms = window_ms, window_ms * SLOW_WINDOWS
        self._fast, self._slow = Decayed(self._fast_ms), Decayed(self._slow_ms)
        self._squares = Decayed(self._slow_ms)
        self._watched_ms = 0.0
        self._trend = Trend(window_ms * 2)

    def take(self, amount: float, squares: float, elapsed_ms: float) -> None:
        """So much has arrived since the last time; `squares` is the sum of each piece squared."""
        self._watched_ms += elapsed_ms
        self._trend.take(amount, elapsed_ms)
        self._fast.add(amount, elapsed_ms)
        self._slow.add(amount, elapsed_ms)
        self._squares.add(squares, elapsed_ms)

    def per_ms(self, ahead_ms: float = 0.0) -> float:
        """The rate expected so far ahead, at most twice the present one."""
        fast, slow = self._mean(self._fast, self._fast_ms), self._mean(self._slow, self._slow_ms)
        error = math.sqrt(self._mean(self._squares, self._slow_ms) / (2 * self._fast_ms))
        is_changing = abs(fast - slow) > SIGNIFICANT * error
        level, lag_ms = (fast, self._fast_ms) if is_changing else (slow, self._slow_ms)
        return min(level + self._trend.slope * (ahead_ms + lag_ms), 2 * max(fast, slow))

    def _mean(self, total: Decayed, window_ms: float) -> float:
        """Over the window, or over the time watched while that is shorter, but a fast window at least."""
        watched_ms = max(self._watched_ms, self._fast_ms)
        return total.value / (window_ms * -math.expm1(-watched_ms / window_ms))


class Meter:
    """All measurements of one tier."""

    def __init__(self, window_ms: float) -> None:
        self.requests, self.tokens = Arrivals(window_ms), Arrivals(window_ms)
        self.seats_per_worker = 0.0
        """Requests of the usual size that one worker holds, as last seen; 0.0 until a worker has served."""
        self.steps = DecayedFit(STEP_SAMPLES)
        """Step in milliseconds over running requests."""
        self._done, self._busy_ms = Decayed(PACE_WINDOW_MS), Decayed(PACE_WINDOW_MS)
        self._held_ms, self._ended = Decayed(PACE_WINDOW_MS), Decayed(PACE_WINDOW_MS)
        self._seated, self._seated_blocks = Decayed(PACE_WINDOW_MS), Decayed(PACE_WINDOW_MS)
        self._last: TierSignal | None = None

    def take(self, signal: TierSignal, elapsed_ms: float) -> None:
        """The next signal, so much time after the last one."""
        last = self._last
        # The totals go on changing; what is compared next time is what they were now.
        self._last = replace(signal, totals=replace(signal.totals))
        for running, step_ms in signal.steps:
            self.steps.add(running, step_ms)
        if last is not None and elapsed_ms > 0:
            self._arrivals(last.totals, signal.totals, elapsed_ms)
            self._prefilled(last, signal, elapsed_ms)
            self._seats(last.totals, signal.totals, elapsed_ms)
        if signal.serving:
            self.seats_per_worker = self._seats_of(signal) / signal.serving

    def _arrivals(self, before: TierDemand, after: TierDemand, elapsed_ms: float) -> None:
        requests = after.arrived_requests - before.arrived_requests
        squares = after.arrived_tokens_squared - before.arrived_tokens_squared
        self.requests.take(requests, requests, elapsed_ms)
        self.tokens.take(after.arrived_tokens - before.arrived_tokens, squares, elapsed_ms)

    def _prefilled(self, before: TierSignal, after: TierSignal, elapsed_ms: float) -> None:
        done = after.totals.taken_tokens - after.running_tokens
        done -= before.totals.taken_tokens - before.running_tokens
        self._done.add(max(0, done), elapsed_ms)
        # A worker that is busy at both ends was busy in between, at one end for half the time, on average.
        self._busy_ms.add((before.busy + after.busy) / 2 * elapsed_ms, elapsed_ms)

    def _seats(self, before: TierDemand, after: TierDemand, elapsed_ms: float) -> None:
        self._seated.add(after.seated_requests - before.seated_requests, elapsed_ms)
        self._seated_blocks.add(after.seated_blocks - before.seated_blocks, elapsed_ms)
        self._held_ms.add(after.held_ms - before.held_ms, elapsed_ms)
        self._ended.add(after.ended_requests - before.ended_requests, elapsed_ms)

    def _seats_of(self, signal: TierSignal) -> float:
        """As many as there are slots, or as KV blocks hold."""
        if self._seated_blocks.value <= 0:
            return signal.slots
        return min(signal.slots, signal.blocks * self._seated.value / self._seated_blocks.value)

    @property
    def tokens_per_busy_ms(self) -> float | None:
        """A prefill worker's pace; `None` until measured."""
        if self._busy_ms.value < BUSY_MS_MIN or self._done.value <= 0:
            return None
        return self._done.value / self._busy_ms.value

    @property
    def seat_ms(self) -> float | None:
        """How long a request holds its decode seat; `None` until measured."""
        return self._held_ms.value / self._ended.value if self._ended.value >= 1.0 else None
