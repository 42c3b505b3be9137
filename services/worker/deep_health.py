"""Deep health of a loaded worker: an engine that has done nothing for a while must show that it still can."""

import asyncio
import logging
from collections.abc import Callable

from services.common.errors import EngineUnhealthy
from services.common.rpc import RpcServer
from services.worker.engine import Engine

CHECK_S_MAX = 20.0
"""A few tokens take an idle engine milliseconds; the rest is for a host that is busy otherwise."""
FAILURES_MAX = 3
"""So many checks in a row may fail before the process ends, to be started anew."""

log = logging.getLogger("pdmesh.worker")


class DeepHealth:
    """Has an idle engine generate a few tokens at intervals. A busy one proves itself by its steps."""

    def __init__(self, engine: Engine, steps: Callable[[], int], interval_ms: int) -> None:
        self._engine = engine
        self._steps = steps
        self._interval_ms = interval_ms
        self._failures = 0

    async def run(self, server: RpcServer) -> None:
        """For ever: not ready from the first failed check to the next good one.

        Raises EngineUnhealthy after some failures in a row.
        """
        if not self._interval_ms:
            return
        while True:
            seen = self._steps()
            await asyncio.sleep(self._interval_ms / 1e3)
            if self._failures or self._steps() == seen:
                await self._check(server)

    async def _check(self, server: RpcServer) -> None:
        try:
            async with asyncio.timeout(CHECK_S_MAX):
                await self._engine.check()
        except (EngineUnhealthy, TimeoutError) as error:
            self._failures += 1
            log.error("the engine failed a check, %d of %d: %s", self._failures, FAILURES_MAX, error)
            await server.set_serving(False)
            if self._failures >= FAILURES_MAX:
                raise EngineUnhealthy(f"the engine failed {FAILURES_MAX} checks in a row: {error}") from error
            return
        if self._failures:
            self._failures = 0
            await server.set_serving(True)
