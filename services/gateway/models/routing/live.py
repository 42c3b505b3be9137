"""The models file of a running gateway, kept up to date."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

from services.common.clock import until_beat_s
from services.common.errors import MeshError
from services.common.limits import DEFAULTS, Limits
from services.gateway.models.routing.entry import FilesEntry
from services.gateway.models.routing.names import Names
from services.gateway.models.routing.read import read_names
from services.gateway.models.routing.routes import Routes
from services.gateway.models.served import Kit, load_kit
from services.gateway.tenants.source import FileSource, Source

INTERVAL_S = 1.0
"""How often the file is looked at; a change holds after at most twice this time."""

_log = logging.getLogger(__name__)


class Kits(Protocol):
    """Takes the tokenizers of models that have their own (`Models`)."""

    kits: Mapping[str, Kit]


class ModelsFile:
    """Gives routes and models what the file says. A broken file changes nothing, and is complained about."""

    def __init__(self, path: str, routes: Routes, models: Kits, limits: Limits = DEFAULTS) -> None:
        self._source: Source | None = None
        if path:
            self._source = FileSource(path, "models file", limits.models_file_size_bytes_max)
        self._routes, self._models, self._limits = routes, models, limits
        self._loaded: dict[FilesEntry, Kit] = {}
        self._trouble = ""

    async def load(self) -> None:
        """Read for the first time; raises `BadSetting`, or `ModelMissing`."""
        await self._refresh()

    async def run(self) -> None:
        """Follow the file until cancelled; returns at once where there is none."""
        while self._source is not None:
            await asyncio.sleep(until_beat_s(INTERVAL_S))
            try:
                await self._refresh()
            except MeshError as error:
                self._complain(error)

    async def _refresh(self) -> None:
        text = await self._source.read() if self._source is not None else None
        if text is None or self._source is None:
            return
        names = read_names(text, self._source.name, self._limits)
        kits = await self._load_kits(names)
        self._routes.replace(names)
        self._models.kits = kits
        self._trouble = ""
        _log.info("models file %s: %s", self._source.name, ", ".join(names.all()) or "no names")

    async def _load_kits(self, names: Names) -> Mapping[str, Kit]:
        """Tokenizers take a second or more, and answers are being written meanwhile."""
        wanted = set(names.files.values())
        loaded = {entry: kit for entry, kit in self._loaded.items() if entry in wanted}
        for entry in wanted - loaded.keys():
            loaded[entry] = await asyncio.to_thread(
                load_kit, entry.path, entry.tool_call_parser, entry.reasoning_parser
            )
        self._loaded = loaded
        return {name: loaded[entry] for name, entry in names.files.items()}

    def _complain(self, error: MeshError) -> None:
        """Once per trouble, not once per look."""
        if error.message != self._trouble:
            self._trouble = error.message
            _log.error("models file NOT reloaded, the last good one stays in force: %s", error.message)
