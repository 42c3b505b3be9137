"""Moves a worker from a tier that idles to one that starves, instead of waiting for a new one."""

from services.common.domain import Role
from services.router.core.events import SetRole
from services.router.core.fleet import Pool
from services.router.core.scaling.rules import TierRules
from services.router.core.scaling.signal import TierSignal
from services.router.core.scaling.steward import emptiest
from services.router.core.scaling.tier import Decision


class Rebalancer:
    """Remembers, for one pool, since when each tier has lacked workers or had too many."""

    def __init__(self, starve_ms: float) -> None:
        self._starve_ms = starve_ms
        self._lacks_since_ms: dict[Role, float] = {}
        self._idles_since_ms: dict[Role, float] = {}

    def watch(
        self, tier: Role, signal: TierSignal, decision: Decision, rules: TierRules, now_ms: float
    ) -> None:
        """How a tier does now."""
        lacks = min(decision.at_least, rules.replicas_max) > signal.serving + signal.at_hand
        idles = signal.serving > max(decision.at_most, rules.replicas_min) and not signal.queued_requests
        for is_so, since in ((lacks, self._lacks_since_ms), (idles, self._idles_since_ms)):
            if is_so:
                since.setdefault(tier, now_ms)
            else:
                since.pop(tier, None)

    def flip(self, pool: Pool, now_ms: float) -> SetRole | None:
        """The flip to make; the flip's own rules may still refuse it."""
        for poor, rich in ((Role.PREFILL, Role.DECODE), (Role.DECODE, Role.PREFILL)):
            if not self._is_lasting(self._lacks_since_ms, poor, now_ms):
                continue
            if not self._is_lasting(self._idles_since_ms, rich, now_ms):
                continue
            serving = (w for w in pool.workers.values() if w.is_serving and not w.registration.role_is_fixed)
            for worker in emptiest(serving, rich, 1):
                # Both tiers are judged anew after this: one flip may be all that was lacking.
                self._lacks_since_ms.clear()
                self._idles_since_ms.clear()
                return SetRole(worker.worker_id, poor)
        return None

    def _is_lasting(self, since: dict[Role, float], tier: Role, now_ms: float) -> bool:
        return tier in since and now_ms - since[tier] >= self._starve_ms
