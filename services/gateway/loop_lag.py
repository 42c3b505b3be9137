"""How late the event loop comes to what is due: everything that holds it up shows here."""

import asyncio

from services.common.clock import Clock, until_beat_s
from services.gateway.metrics import Metrics

INTERVAL_S = 0.25


class LoopLag:
    """Sleeps again and again, and observes how long after the time it was woken."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock

    async def run(self) -> None:
        """Observe until cancelled."""
        while True:
            began_ms, asked_s = self._clock.now_ms(), until_beat_s(INTERVAL_S)
            await asyncio.sleep(asked_s)
            late_s = (self._clock.now_ms() - began_ms) / 1000.0 - asked_s
            self._metrics.loop_lag_seconds.observe(max(0.0, late_s))
