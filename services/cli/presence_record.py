"""This process's record in the store, for as long as it serves."""

import asyncio
import os
import socket
from functools import partial
from types import TracebackType
from typing import Self

from services.common.background import keep_running
from services.common.store import Presence, Store, announce, open_store
from services.common.version import VERSION


class PresenceRecord:
    """Announces from `begin` to the end, as soon as the store answers; nothing depends on it.

    Without an address it does nothing.
    """

    def __init__(self, role: str, redis_url: str) -> None:
        self._role = role
        self._redis_url = redis_url
        self._store: Store | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Raises `StoreUnavailable` for an address that is none."""
        if self._redis_url:
            self._store = open_store(self._redis_url)
        return self

    def begin(self, facts: dict[str, str]) -> None:
        """Say that the process serves, with what it said when it was ready."""
        if self._store is None:
            return
        url = facts.get("url") or facts.get("address", "")
        name = f"{socket.gethostname()}-{os.getpid()}"
        presence = Presence(self._role, name, url, os.getpid(), VERSION)
        self._task = asyncio.create_task(keep_running("presence", partial(announce, self._store, presence)))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._store:
            await self._store.close()
