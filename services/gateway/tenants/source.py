"""Where the text of a tenants file comes from."""

import asyncio
import os
from pathlib import Path
from typing import Protocol

from services.common.errors import BadSetting
from services.common.limits import DEFAULTS
from services.common.store import Store

STORE_KEY = "pdmesh:tenants"
"""In the store: the text of a tenants file, TOML or JSON, without a time to live."""


class Source(Protocol):
    """A text that changes now and then."""

    name: str
    """For errors; its ending tells the format."""

    async def read(self) -> bytes | None:
        """The text, or None while it is what it was at the last call. Raises `MeshError` when it is away."""


class FileSource:
    """A file, read again when its time, size or inode changes: Kubernetes swaps links, editors swap files.

    Others write into it, and a half, or nothing yet, may well mean something. So a change is taken once it
    has been the same at two looks; only the first read of all takes what is there.
    """

    def __init__(
        self, path: str, what: str = "tenants file", bytes_max: int = DEFAULTS.tenants_size_bytes_max
    ) -> None:
        """`what` names it in errors; of a larger file a byte more than `bytes_max` is read, which tells."""
        self.name = path
        self._what = what
        self._bytes_max = bytes_max
        self._is_first = True
        self._seen: tuple[int, int, int] | None = None
        self._noticed: tuple[int, int, int] | None = None
        """What the file was at the last look, taken or not."""

    async def read(self) -> bytes | None:
        """See `Source`."""
        try:
            return await asyncio.to_thread(self._read_if_new)
        except OSError as error:
            self._seen = self._noticed = None
            raise BadSetting(f"{self._what} {self.name}: {error.strerror}") from None

    def _read_if_new(self) -> bytes | None:
        with Path(self.name).open("rb") as file:
            status = os.fstat(file.fileno())
            signature = (status.st_mtime_ns, status.st_size, status.st_ino)
            if signature == self._seen:
                return None
            before, self._noticed = self._noticed, signature
            if signature != before and not self._is_first:
                return None
            self._is_first, self._seen = False, signature
            return file.read(self._bytes_max + 1)


class StoreSource:
    """A key of the store, for gateways on many hosts."""

    def __init__(self, store: Store) -> None:
        self.name = STORE_KEY
        self._store = store
        self._seen: bytes | None = None

    async def read(self) -> bytes | None:
        """See `Source`."""
        seen, self._seen = self._seen, None  # after an outage the text counts as new
        text = await self._store.get(STORE_KEY)
        if text is None:
            raise BadSetting(f"the store has no {STORE_KEY}: put the text of a tenants file there")
        self._seen = text
        return None if text == seen else text
