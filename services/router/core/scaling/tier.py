"""The scaler of one tier: signals in, the number of workers that should serve out."""

import math
from dataclasses import dataclass

from services.common.domain import Role
from services.router.core.scaling.cold_starts import ColdStarts
from services.router.core.scaling.damper import Damper
from services.router.core.scaling.meter import Meter
from services.router.core.scaling.needs import DECODE, PREFILL, Case, Need, largest
from services.router.core.scaling.rules import TierRules
from services.router.core.scaling.signal import TierSignal

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Decision:
    """What a tier should be, and why."""

    desired: int
    """Workers that should serve."""
    spares: int
    """Workers that should be loaded beside them."""
    need: float
    """Workers that the work asks for, before bounds and patience."""
    why: str
    at_least: int
    """Fewer workers than this are too few at the moment."""
    at_most: int
    """More workers than this are too many at the moment."""
    coming: int
    """Workers asked for that are not attached yet."""
    cold_start_ms: float
    changed_ms: float | None
    """When `desired` changed last."""

    @property
    def replicas(self) -> int:
        """All workers that there should be."""
        return self.desired + self.spares


class TierScaler:
    """Two questions at each signal, with a worker's cold start in between.

    Workers at hand (spares, and those on their way out) serve at once, so they are called whenever the queue
    would not clear within the target wait. Workers yet to be started help only after a cold start: they are
    asked for by what that long a time is enough to clear, and by the arrivals expected then. The number asked
    for is absolute, so that workers which are still loading are part of it and never asked for again.
    """

    def __init__(self, role: Role, rules: TierRules) -> None:
        self.rules = rules
        self.meter = Meter(rules.rate_window_ms)
        self._reasons = DECODE if role is Role.DECODE else PREFILL
        self._damper: Damper | None = None
        self._cold_starts = ColdStarts(rules.cold_start_ms)
        self._seen_ms: float | None = None
        self._serving = 0

    def decide(
        self,
        signal: TierSignal,
        now_ms: float,
        floor: int = 0,
        *,
        told: int | None = None,
        may_grow: bool = True,
    ) -> Decision:
        """What should be, by all that has been seen until now. `floor` is the schedule's; `told` is the
        number of whoever else decides; without `may_grow` what waits is not trusted, and nothing added.
        """
        self.meter.take(signal, 0.0 if self._seen_ms is None else now_ms - self._seen_ms)
        self._seen_ms = now_ms
        rules = self.rules
        if self._damper is None:
            self._damper = Damper(rules, max(signal.serving, rules.replicas_min))
        if signal.serving > self._serving:
            self._damper.adopt(min(signal.serving, rules.replicas_max), now_ms)
        self._serving = signal.serving
        need, at_least, at_most = self._needed(signal)
        least = min(max(rules.replicas_min, floor), rules.replicas_max)
        if told is not None:
            desired = self._damper.follow(told, max(at_most, least), now_ms)
        else:
            wanted = at_least if may_grow else min(at_least, self._damper.desired)
            self._damper.settle(wanted, max(at_most, least), now_ms)
            desired = self._damper.bound(least, rules.replicas_max, now_ms)
        self._cold_starts.watch(desired + rules.spares, signal.attached, now_ms)
        return Decision(
            desired,
            rules.spares,
            need.workers,
            _bounded(need, desired, floor, rules),
            at_least,
            at_most,
            self._cold_starts.coming,
            self._cold_starts.typical_ms,
            self._damper.changed_ms,
        )

    def give_away(self, now_ms: float) -> None:
        """One worker has gone to another tier: it is not to be replaced."""
        if self._damper is not None:
            self._damper.give_away(now_ms)

    @property
    def cold_start_ms(self) -> float:
        """How long a worker takes to come."""
        return self._cold_starts.typical_ms

    def _needed(self, signal: TierSignal) -> tuple[Need, int, int]:
        """The need, and between which numbers of workers nothing should change."""
        rules, cold_ms = self.rules, self._cold_starts.typical_ms
        ahead_ms = min(cold_ms, rules.forecast_ms_max)
        lasting = self._largest(signal, max(rules.target_wait_ms, cold_ms), ahead_ms)
        urgent = self._largest(signal, rules.target_wait_ms, 0.0)
        at_once = min(_whole(urgent.workers / (1 + rules.tolerance)), signal.serving + signal.at_hand)
        at_least = max(_whole(lasting.workers / (1 + rules.tolerance)), at_once)
        at_most = max(at_least, _whole(lasting.workers * (1 + rules.tolerance)))
        return max(lasting, urgent, key=lambda need: need.workers), at_least, at_most

    def _largest(self, signal: TierSignal, clear_ms: float, ahead_ms: float) -> Need:
        return largest(self._reasons, Case(signal, self.meter, self.rules, clear_ms, ahead_ms))


def _whole(workers: float) -> int:
    return math.ceil(workers - ROUNDING)


def _bounded(need: Need, desired: int, floor: int, rules: TierRules) -> str:
    """The reason, or the bound that overrules it."""
    if desired == rules.replicas_max < need.workers:
        return f"{need.why}; {desired} is the most"
    if desired == floor and floor > max(need.workers, rules.replicas_min):
        return f"scheduled; {need.why}"
    if desired > need.workers * (1 + rules.tolerance) + 1 and desired > rules.replicas_min:
        return f"{need.why}; more were needed within the last {rules.down_cooldown_ms / 1e3:.0f} s"
    return need.why
