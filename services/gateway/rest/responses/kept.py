"""Responses that callers may come back to."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from services.common.clock import Clock
from services.common.errors import ResponseNotFound, ResponsesUnavailable, StoreUnavailable
from services.common.limits import Limits
from services.common.store import ShelfBounds, open_shelf
from services.common.store.memory_shelf import MemoryShelf
from services.gateway.rest.responses.items import Item

RETRY_AFTER_MS = 1_000
SWEEP_S = 60.0
"""What is over is forgotten so often, where nobody asks for it."""

_log = logging.getLogger(__name__)


class Kept(msgspec.Struct):
    """One stored response."""

    response: msgspec.Raw
    """The response object as it was given."""
    conversation: list[Item]
    """All that was said, the response's own output last; another one may go on from here."""


_decoder = msgspec.json.Decoder(Kept)
_to_json = msgspec.json.encode


class KeptResponses:
    """Of each tenant the newest responses, in this process or in Redis.

    With Redis a response waits here until it is written, so that its caller can go on at this gateway at
    once; what cannot be written is lost, and its caller told that it is not there.
    """

    def __init__(self, store_url: str, limits: Limits, clock: Clock, secrets: Sequence[str] = ()) -> None:
        """With `secrets` they are encrypted in Redis; raises what `open_shelf` does."""
        bounds = ShelfBounds(
            limits.responses_per_tenant_max,
            limits.responses_per_tenant_bytes_max,
            limits.responses_kept_bytes_max,
            limits.response_ttl_ms,
        )
        self._size_bytes_max = limits.response_size_bytes_max
        self._here = MemoryShelf(clock, bounds)
        """All of them, or those that are not written yet."""
        self._shared = open_shelf(store_url, bounds, secrets)
        self._unwritten: asyncio.Queue[tuple[str, str]] = asyncio.Queue(limits.responses_per_tenant_max)

    def keep(
        self, tenant: str, response_id: str, response: dict[str, Any], conversation: Sequence[Any]
    ) -> None:
        """Keep a response, unless it is too long."""
        record = _to_json({"response": response, "conversation": conversation})
        if len(record) > self._size_bytes_max:
            _log.info("response %s is not stored: it has %d bytes", response_id, len(record))
            return
        self._here.put(tenant, response_id, record)
        if self._shared is None:
            return
        if self._unwritten.full():
            self._unwritten.get_nowait()
        self._unwritten.put_nowait((tenant, response_id))

    async def find(self, tenant: str, response_id: str, field: str = "") -> Kept:
        """A response; raises `ResponseNotFound`, and `ResponsesUnavailable` where that cannot be known."""
        record = await self._here.find(tenant, response_id)
        if record is None and self._shared is not None:
            with _told_as_unavailable():
                record = await self._shared.find(tenant, response_id)
        if record is None:
            raise _not_found(response_id, field)
        return _decoder.decode(record)

    async def remove(self, tenant: str, response_id: str) -> None:
        """Forget a response; raises `ResponseNotFound` and `ResponsesUnavailable`."""
        was_there = await self._here.remove(tenant, response_id)
        if self._shared is not None:
            with _told_as_unavailable():
                was_there = await self._shared.remove(tenant, response_id) or was_there
        if not was_there:
            raise _not_found(response_id, "")

    async def run(self) -> None:
        """Write to Redis what waits, and forget here what is over; until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    tenant, response_id = await self._unwritten.get()
                await self._write(tenant, response_id)
            self._here.drop_expired()

    async def close(self) -> None:
        """Let go of the store; what still waits is lost."""
        if self._shared is not None:
            await self._shared.close()

    async def _write(self, tenant: str, response_id: str) -> None:
        record = await self._here.find(tenant, response_id)
        if record is None or self._shared is None:
            return
        try:
            await self._shared.keep(tenant, response_id, record)
            if not await self._here.remove(tenant, response_id):  # its caller has removed it meanwhile
                await self._shared.remove(tenant, response_id)
        except StoreUnavailable as error:
            _log.warning("response %s is not stored: %s", response_id, error.message)
            await self._here.remove(tenant, response_id)


@contextmanager
def _told_as_unavailable() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as error:
        raise ResponsesUnavailable(error.message, retry_after_ms=RETRY_AFTER_MS) from error


def _not_found(response_id: str, field: str) -> ResponseNotFound:
    said = f"no response {response_id[:200]!r} is stored"
    return ResponseNotFound(f"{field}: {said}" if field else said, field=field)
