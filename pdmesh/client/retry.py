"""Deciding whether and when to try again. No I/O and no waiting here."""

import random
import threading

from pdmesh.client.errors import Unreachable
from pdmesh.client.options import RetryPolicy
from services.common.clock import Clock
from services.common.errors import DeadlinePassed, MeshError, Refused, RouterUnavailable

JITTER = 0.25
"""A named wait is stretched by up to this share, so that the refused do not come back together."""


class RetryBudget:
    """What all calls of one client may spend on retries, so that they do not multiply the load of a mesh that
    is down: a retry costs 1, a whole answer gives a little back.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._left = policy.budget_max
        self._lock = threading.Lock()

    def spend(self) -> bool:
        """Take one retry; False when there is none left."""
        with self._lock:
            if self._left < 1.0:
                return False
            self._left -= 1.0
            return True

    def earn(self) -> None:
        """A whole answer came."""
        with self._lock:
            self._left = min(self._policy.budget_max, self._left + self._policy.budget_per_success)


class Retrier:
    """One call's attempts."""

    def __init__(
        self,
        policy: RetryPolicy,
        budget: RetryBudget,
        clock: Clock,
        rng: random.Random,
        timeout_s: float | None,
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._clock = clock
        self._rng = rng
        self._deadline_ms = None if timeout_s is None else clock.now_ms() + timeout_s * 1000.0
        self._failures = 0

    def time_left_s(self) -> float | None:
        """What is left of the caller's deadline for the next attempt; raises `DeadlinePassed`."""
        if self._deadline_ms is None:
            return None
        left_ms = self._deadline_ms - self._clock.now_ms()
        if left_ms <= 0:
            raise DeadlinePassed("the call's own time is over")
        return left_ms / 1000.0

    def progressed(self) -> None:
        """A token came: failures before it no longer count."""
        self._failures = 0

    def succeeded(self) -> None:
        """The whole answer came."""
        self._budget.earn()

    def wait_ms(self, error: MeshError) -> float:
        """How long to wait before the next attempt; raises `error` when there should be none."""
        self._failures += 1
        if not is_retriable(error) or self._failures >= self._policy.attempts_max:
            raise error
        wait_ms = self._pause_ms(error)
        if self._deadline_ms is not None and self._clock.now_ms() + wait_ms >= self._deadline_ms:
            raise error
        if not self._budget.spend():
            raise error
        return wait_ms

    def _pause_ms(self, error: MeshError) -> float:
        policy = self._policy
        if error.retry_after_ms is not None:
            if error.retry_after_ms > policy.retry_after_ms_max:
                raise error
            return error.retry_after_ms * self._rng.uniform(1.0, 1.0 + JITTER)
        most_ms = min(policy.backoff_ms_max, policy.backoff_ms * 2.0 ** (self._failures - 1))
        return most_ms * self._rng.uniform(0.5, 1.0)


def is_retriable(error: MeshError) -> bool:
    """Whether coming again can help: the mesh refused for the moment, or is out of reach."""
    return isinstance(error, Refused)


def calls_for_another_gateway(error: MeshError) -> bool:
    """Whether the next attempt should go elsewhere."""
    return isinstance(error, (Unreachable, RouterUnavailable))
