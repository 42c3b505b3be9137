"""Fair shares of tenants by virtual token counters (Sheng et al., "Fairness in Serving LLMs", 2024).

A tenant's counter grows with the tokens it is served, divided by its weight; the tenant with the
smallest counter is served next. A tenant that was idle starts at the counter of those being served, so
that nobody saves up service.
"""

import heapq
from collections.abc import Mapping
from operator import itemgetter

OUTPUT_TOKEN_COST = 2.0
"""A generated token costs about two prompt tokens of engine time, as OpenAI-like price lists have it."""
TENANTS_REMEMBERED_MAX = 10_000


class FairShares:
    """Virtual token counters of one pool's tenants."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = weights
        self._counters: dict[str, float] = {}
        self._floor = 0.0

    def counter(self, tenant: str) -> float:
        """The tenant's counter; never below that of the tenant served last."""
        return self._counters.get(tenant, self._floor)

    def join(self, tenant: str) -> None:
        """A tenant without waiting requests has one now: it forgoes what it did not use."""
        self._counters[tenant] = max(self._counters.get(tenant, self._floor), self._floor)
        if len(self._counters) > TENANTS_REMEMBERED_MAX:
            self._forget_idle()

    def served_next(self, tenant: str) -> None:
        """A request of this tenant has been chosen."""
        self._floor = max(self._floor, self._counters.get(tenant, self._floor))

    def charge(
        self, tenant: str, prompt_tokens: int = 0, output_tokens: int = 0, weight: float = 1.0
    ) -> None:
        """Count service; `weight` is for a tenant that has none here."""
        cost = prompt_tokens + OUTPUT_TOKEN_COST * output_tokens
        counter = self._counters.get(tenant, self._floor)
        self._counters[tenant] = counter + cost / self._weights.get(tenant, weight)

    def _forget_idle(self) -> None:
        """Forget those at or below the floor: joining again puts them exactly there."""
        ahead = {t: c for t, c in self._counters.items() if c > self._floor}
        if len(ahead) > TENANTS_REMEMBERED_MAX // 2:
            # Those furthest ahead have most to lose by being forgotten, so they are kept.
            ahead = dict(heapq.nlargest(TENANTS_REMEMBERED_MAX // 2, ahead.items(), key=itemgetter(1)))
        self._counters = ahead
