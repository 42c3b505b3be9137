"""Stored responses: whose they are, and what becomes of them while Redis is slow or away."""

import asyncio
import dataclasses
from typing import Any

import pytest

from services.common.clock import ManualClock
from services.common.errors import ResponseNotFound, ResponsesUnavailable, StoreUnavailable
from services.common.limits import DEFAULTS
from services.gateway.rest.responses import kept as module
from services.gateway.rest.responses.kept import KeptResponses

RESPONSE = {"id": "resp_1", "output": []}
SAID = [{"type": "message", "role": "user", "content": "Hi"}]


class SlowShelf:
    """Redis, whose answers the test lets go."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}
        self.may_go = asyncio.Event()
        self.is_away = False
        self.is_asked = asyncio.Event()

    async def keep(self, owner: str, name: str, value: bytes) -> None:
        self.is_asked.set()
        await self.may_go.wait()
        self._check()
        self.kept[owner, name] = value

    async def find(self, owner: str, name: str) -> bytes | None:
        self._check()
        return self.kept.get((owner, name))

    async def remove(self, owner: str, name: str) -> bool:
        self._check()
        return self.kept.pop((owner, name), None) is not None

    async def close(self) -> None:
        """Nothing to let go of."""

    def _check(self) -> None:
        if self.is_away:
            raise StoreUnavailable("no answer")


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> SlowShelf:
    made = SlowShelf()
    monkeypatch.setattr(module, "open_shelf", lambda url, bounds, secrets: made if url else None)
    return made


def responses(url: str = "", **limits: Any) -> KeptResponses:
    return KeptResponses(url, dataclasses.replace(DEFAULTS, **limits), ManualClock())


async def test_they_are_their_tenant_s_alone() -> None:
    site = responses()
    site.keep("a", "resp_1", RESPONSE, SAID)
    found = await site.find("a", "resp_1")
    assert (bytes(found.response), found.conversation[0].content) == (b'{"id":"resp_1","output":[]}', "Hi")
    for tenant in ("b", ""):
        with pytest.raises(ResponseNotFound):
            await site.find(tenant, "resp_1")
        with pytest.raises(ResponseNotFound):
            await site.remove(tenant, "resp_1")
    assert await site.find("a", "resp_1")


async def test_a_long_one_is_not_kept() -> None:
    site = responses(response_size_bytes_max=100)
    site.keep("a", "resp_1", {**RESPONSE, "x": "y" * 100}, SAID)
    with pytest.raises(ResponseNotFound):
        await site.find("a", "resp_1")


async def test_it_is_there_before_it_is_written_and_after(shelf: SlowShelf) -> None:
    site = responses("redis://x")
    writing = asyncio.create_task(site.run())
    site.keep("a", "resp_1", RESPONSE, SAID)
    await shelf.is_asked.wait()
    assert await site.find("a", "resp_1")
    shelf.may_go.set()
    while not shelf.kept:
        await asyncio.sleep(0)
    assert await site.find("a", "resp_1")
    writing.cancel()


async def test_one_that_is_removed_while_it_is_written_does_not_come_back(shelf: SlowShelf) -> None:
    site = responses("redis://x")
    writing = asyncio.create_task(site.run())
    site.keep("a", "resp_1", RESPONSE, SAID)
    await shelf.is_asked.wait()
    await site.remove("a", "resp_1")
    site.keep("a", "resp_2", RESPONSE, SAID)
    shelf.may_go.set()
    while ("a", "resp_2") not in shelf.kept:
        await asyncio.sleep(0)
    assert list(shelf.kept) == [("a", "resp_2")]
    writing.cancel()


async def test_while_redis_is_away_callers_are_told_to_wait(shelf: SlowShelf) -> None:
    site = responses("redis://x")
    shelf.is_away = True
    shelf.may_go.set()
    writing = asyncio.create_task(site.run())
    site.keep("a", "resp_1", RESPONSE, SAID)
    await shelf.is_asked.wait()
    for call in (site.find, site.remove):
        with pytest.raises(ResponsesUnavailable) as caught:
            await call("a", "resp_2")
        assert (caught.value.http_status, caught.value.retry_after_ms) == (503, 1_000)
    shelf.is_away = False
    with pytest.raises(ResponseNotFound):  # it could not be written, and what follows is
        await site.find("a", "resp_1")
    site.keep("a", "resp_3", RESPONSE, SAID)
    while not shelf.kept:
        await asyncio.sleep(0)
    writing.cancel()


async def test_what_waits_for_redis_is_bounded(shelf: SlowShelf) -> None:
    site = responses("redis://x", responses_per_tenant_max=2)
    for number in range(5):
        site.keep("a", f"resp_{number}", RESPONSE, SAID)
    kept = [number for number in range(5) if await is_there(site, f"resp_{number}")]
    assert kept == [3, 4]


async def is_there(site: KeptResponses, response_id: str) -> bool:
    try:
        await site.find("a", response_id)
    except ResponseNotFound:
        return False
    return True
