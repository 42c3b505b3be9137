"""The right to scale the fleet, which one router has at a time."""

import contextlib

from services.common.clock import Clock
from services.common.errors import StoreUnavailable
from services.common.store import Store

KEY = "pdmesh:scaling:decider"
TTL_MS = 1_500
MARGIN_MS = 100.0
"""The right ends for its holder so much before it does for the others."""


class Lease:
    """Held by one life of one router, by its own clock never longer than the store knows of it."""

    def __init__(self, store: Store, run: str, clock: Clock) -> None:
        self._store, self._run, self._clock = store, run, clock
        self.until_ms = float("-inf")
        """Until when it is ours."""
        self._claims_from_ms = float("-inf")
        self._is_given_up = False

    @property
    def is_held(self) -> bool:
        """Whether it is ours at the moment."""
        return self._clock.now_ms() < self.until_ms

    async def renew(self, *, may_claim: bool) -> str:
        """Take it where it is free, or keep it; returns the life that has it, "" for none."""
        now_ms = self._clock.now_ms()
        may_claim = may_claim and not self._is_given_up and now_ms >= self._claims_from_ms
        claims = may_claim or now_ms < self.until_ms
        if claims:
            holder = await self._store.claim(KEY, self._run.encode(), TTL_MS)
        else:
            holder = await self._store.get(KEY) or b""
        is_ours = claims and holder == self._run.encode() and not self._is_given_up
        self.until_ms = now_ms + TTL_MS - MARGIN_MS if is_ours else float("-inf")
        return holder.decode(errors="replace")

    def store_was_away(self) -> None:
        """Another may hold it by what a store told it that has forgotten everything since."""
        self._claims_from_ms = self._clock.now_ms() + TTL_MS

    async def give_up(self) -> None:
        """Let another have it at once, for good."""
        self.until_ms, self._is_given_up = float("-inf"), True
        with contextlib.suppress(StoreUnavailable):  # its time to live ends it
            await self._store.claim(KEY, self._run.encode(), 0)
