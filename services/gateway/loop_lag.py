"""How late the event loop comes to what is due: everything that holds it up shows here."""

import asyncio

from prometheus_client import CollectorRegistry

from services.common.clock import Clock, until_beat_s
from services.common.telemetry.tallies import Histogram

INTERVAL_S = 0.25
LAG_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class LoopLag:
    """Sleeps again and again, and observes how long after the time it was woken."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self._lag = Histogram(
            "pdmesh_gateway_loop_lag_seconds",
            "How late the event loop wakes what sleeps, 4 times a second: above 0.05 something holds it up",
            buckets=LAG_S,
            registry=registry,
        ).labels()

    async def run(self) -> None:
        """Observe until cancelled."""
        while True:
            began_ms, asked_s = self._clock.now_ms(), until_beat_s(INTERVAL_S)
            await asyncio.sleep(asked_s)
            self._lag.observe(max(0.0, (self._clock.now_ms() - began_ms) / 1000.0 - asked_s))
