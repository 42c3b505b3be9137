"""The tenants of a running gateway, kept up to date."""

import asyncio
import logging

from services.common.clock import until_beat_s
from services.common.errors import MeshError
from services.gateway.tenants.metrics import Metrics
from services.gateway.tenants.read import read_tenants
from services.gateway.tenants.source import Source
from services.gateway.tenants.tenants import Tenants

INTERVAL_S = 1.0
"""How often a source is looked at; a change holds after at most twice this time."""

_log = logging.getLogger("pdmesh.tenants")


class LiveTenants:
    """`current` is replaced as a whole. A broken text changes nothing, and is complained about."""

    def __init__(self, source: Source, metrics: Metrics, interval_s: float = INTERVAL_S) -> None:
        self.current = Tenants()
        self._source, self._metrics, self._interval_s = source, metrics, interval_s
        self._trouble = ""

    async def load(self) -> None:
        """Read for the first time; raises `BadSetting`, or `StoreUnavailable`."""
        await self._refresh()

    async def run(self) -> None:
        """Follow the source until cancelled."""
        while True:
            await asyncio.sleep(until_beat_s(self._interval_s))
            try:
                await self._refresh()
            except MeshError as error:
                self._complain(error)

    async def _refresh(self) -> None:
        text = await self._source.read()
        if text is None:
            return
        # Ten thousand tenants take a while to read, and answers are being written meanwhile.
        self.current = await asyncio.to_thread(read_tenants, text, self._source.name)
        self._trouble = ""
        self._metrics.tenants.set(len(self.current.callers))
        self._metrics.tenants_stale.set(0)
        _log.info("%d tenants read from %s", len(self.current.callers), self._source.name)

    def _complain(self, error: MeshError) -> None:
        """Once per trouble, not once per look."""
        self._metrics.tenants_stale.set(1)
        if error.message != self._trouble:
            self._trouble = error.message
            _log.error("tenants NOT reloaded, the last good ones stay in force: %s", error.message)
