"""Tenants that change while the gateway runs."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.common.errors import BadSetting, StoreUnavailable
from services.common.store.memory import MemoryStore
from services.gateway.tenants.live import LiveTenants
from services.gateway.tenants.metrics import Metrics
from services.gateway.tenants.source import STORE_KEY, FileSource, Source, StoreSource

YEAR_MS = 365 * 24 * 3600 * 1000
WAIT_S = 10.0


@asynccontextmanager
async def live(source: Source, registry: CollectorRegistry | None = None) -> AsyncIterator[LiveTenants]:
    tenants = LiveTenants(source, Metrics(registry or CollectorRegistry()), interval_s=0.005)
    await tenants.load()
    running = asyncio.create_task(tenants.run())
    try:
        yield tenants
    finally:
        running.cancel()
        await asyncio.wait([running])


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_so():
            await asyncio.sleep(0.005)


def names(tenants: LiveTenants) -> set[str]:
    return set(tenants.current.callers)


async def test_a_changed_file_holds_without_a_restart(tmp_path: Path):
    path = tmp_path / "tenants.toml"
    path.write_text("[tenants.a]\n")
    async with live(FileSource(str(path))) as tenants:
        assert names(tenants) == {"a"}
        path.write_text("[tenants.b]\n[tenants.c]\n")
        await until(lambda: names(tenants) == {"b", "c"})


async def test_a_file_is_not_taken_while_somebody_writes_it(tmp_path: Path):
    path = tmp_path / "tenants.toml"
    path.write_text("[tenants.a]\n")
    source = FileSource(str(path))
    assert await source.read() == b"[tenants.a]\n"
    with path.open("w") as file:
        assert await source.read() is None
        file.write("[tenants.b]\n")
        file.flush()
        assert await source.read() is None
        file.write("[tenants.c]\n")
    assert await source.read() is None
    assert await source.read() == b"[tenants.b]\n[tenants.c]\n"
    assert await source.read() is None
    path.unlink()
    with pytest.raises(BadSetting):
        await source.read()
    path.write_text("[tenants.d]\n")
    assert [await source.read(), await source.read()] == [None, b"[tenants.d]\n"]


async def test_a_file_that_is_swapped_for_one_of_the_same_time_and_size_is_noticed(tmp_path: Path):
    path, new = tmp_path / "tenants.toml", tmp_path / "new"
    path.write_text("[tenants.a]\n")
    new.write_text("[tenants.b]\n")
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    async with live(FileSource(str(path))) as tenants:
        new.replace(path)
        await until(lambda: names(tenants) == {"b"})


@pytest.mark.parametrize("trouble", ["broken", "gone"])
async def test_a_broken_change_keeps_the_old_and_says_so_once(
    trouble: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path, registry = tmp_path / "tenants.toml", CollectorRegistry()
    path.write_text("[tenants.a]\n")
    async with live(FileSource(str(path)), registry) as tenants:
        with caplog.at_level(logging.ERROR, "pdmesh.tenants"):
            if trouble == "broken":
                path.write_text("[tenants.b]\nwieght = 1\n")
            else:
                path.unlink()
            await until(lambda: registry.get_sample_value("pdmesh_gateway_tenants_stale") == 1)
            await asyncio.sleep(0.1)
        assert names(tenants) == {"a"}
        (record,) = caplog.records
        assert "NOT reloaded" in record.getMessage()
        assert "weight" in record.getMessage() or "No such file" in record.getMessage()
        path.write_text("[tenants.c]\n")
        await until(lambda: names(tenants) == {"c"})
        assert registry.get_sample_value("pdmesh_gateway_tenants_stale") == 0
        assert registry.get_sample_value("pdmesh_gateway_tenants") == 1


async def test_a_gateway_does_not_start_with_a_broken_or_missing_file(tmp_path: Path):
    path = tmp_path / "tenants.toml"
    for make in (lambda: None, lambda: path.write_text("[tenants")):
        make()
        with pytest.raises(BadSetting, match=r"tenants\.toml"):
            async with live(FileSource(str(path))):
                pass


class WeakStore(MemoryStore):
    is_away = False

    async def get(self, key: str) -> bytes | None:
        if self.is_away:
            raise StoreUnavailable("away")
        return await super().get(key)


async def test_tenants_in_the_store_are_followed_and_outlive_its_absence():
    store, registry = WeakStore(), CollectorRegistry()
    with pytest.raises(BadSetting, match=STORE_KEY):
        async with live(StoreSource(store)):
            pass
    await store.set(STORE_KEY, b"[tenants.a]", YEAR_MS)
    async with live(StoreSource(store), registry) as tenants:
        assert names(tenants) == {"a"}
        await store.set(STORE_KEY, b"[tenants.b]", YEAR_MS)
        await until(lambda: names(tenants) == {"b"})
        store.is_away = True
        await until(lambda: registry.get_sample_value("pdmesh_gateway_tenants_stale") == 1)
        assert names(tenants) == {"b"}
        store.is_away = False
        await until(lambda: registry.get_sample_value("pdmesh_gateway_tenants_stale") == 0)
