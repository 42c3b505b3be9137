"""Every request is counted once: when gateways die, when Redis does, and when both go on."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.common.errors import BadSetting
from services.common.store.usage import UsageEntry
from services.gateway.accounts.metering import book, open_metering
from services.gateway.accounts.metering.usage_log import UsageLog, usage_directory
from tests.redis_server import redis_server, running_redis
from tests.unit.gateway.metering.dying_gateway import use

NOON_S = 1_769_860_800.0
"""2026-01-31, 12:00 UTC."""
DAY = "2026-01-31"


def files_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


class Gateway:
    """One gateway's metering, with its counters."""

    def __init__(
        self, store: str, directory: Path, now_s: float = NOON_S, prices: tuple[str, ...] = ()
    ) -> None:
        self.registry = CollectorRegistry()
        self.now_s = now_s
        self.meter, self.ledger = open_metering(
            store, str(directory), prices, self.registry, lambda: self.now_s
        )

    def metric(self, name: str) -> float:
        """A metric's value."""
        return self.registry.get_sample_value(f"pdmesh_gateway_usage_{name}") or 0.0

    async def requests(self, day: str = DAY) -> int:
        """Requests counted on a day."""
        return sum(row.requests for row in await self.ledger.rows([day]))


def run_until_killed(store: str, directory: Path, count: int, moment: str) -> None:
    command = [sys.executable, "-m", "tests.unit.gateway.metering.dying_gateway"]
    ended = subprocess.run([*command, store, str(directory), str(count), moment], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["booked", "half-counted", "counted"])
async def test_what_a_killed_gateway_had_booked_is_counted_once_by_another(
    tmp_path: Path, moment: str
) -> None:
    with running_redis() as store:
        await asyncio.to_thread(run_until_killed, store, tmp_path, 9, moment)
        successor, third = Gateway(store, tmp_path), Gateway(store, tmp_path)
        directory = usage_directory(str(tmp_path), store)
        for gateway in (successor, third, successor):
            await gateway.meter.adopt(directory)
        today = [row for day in _days() for row in await successor.ledger.rows([day])]
        assert sum(row.requests for row in today) == 9
        assert sum(row.prompt_tokens for row in today) == 90
        assert successor.metric("adopted_total") + third.metric("adopted_total") == 9
        for gateway in (successor, third):
            await gateway.meter.close()
        assert files_in(tmp_path) == []


def _days() -> list[str]:
    now = datetime.now(UTC)
    return [(now + timedelta(days=shift)).date().isoformat() for shift in (-1, 0, 1)]


async def test_a_running_meter_finds_and_flushes_by_itself(tmp_path: Path) -> None:
    with running_redis() as store:
        await asyncio.to_thread(run_until_killed, store, tmp_path, 3, "booked")
        gateway = Gateway(store, tmp_path)
        running = asyncio.ensure_future(gateway.meter.run())
        gateway.meter.record(use(1))
        while gateway.metric("counted_total") < 4:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])
        assert await gateway.requests() == 1
        await gateway.meter.close()


async def test_a_living_gateways_log_is_left_alone(tmp_path: Path) -> None:
    with running_redis() as store:
        living, other = Gateway(store, tmp_path), Gateway(store, tmp_path)
        living.meter.record(use(1))
        await other.meter.adopt(usage_directory(str(tmp_path), store))
        assert await other.requests() == 0
        await living.meter.flush()
        assert await other.requests() == 1
        await living.meter.close()
        await other.meter.close()


async def test_while_redis_is_away_use_waits_and_is_counted_once_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server() as redis:
        gateway = Gateway(redis.url, tmp_path)
        gateway.meter.record(use(1))
        assert await gateway.meter.flush()
        redis.kill()
        for number in (2, 3):
            gateway.meter.record(use(number))
            assert not await gateway.meter.flush()
        assert gateway.metric("waiting") == 2
        assert gateway.metric("store_up") == 0
        redis.start()
        assert await gateway.meter.flush()
        assert await gateway.requests() == 2  # what the dead Redis had is gone with it
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
        await gateway.meter.close()


async def test_what_a_gateway_cannot_send_before_it_leaves_the_next_one_sends(tmp_path: Path) -> None:
    with redis_server() as redis:
        leaving = Gateway(redis.url, tmp_path)
        redis.kill()
        leaving.meter.record(use(1))
        await leaving.meter.close()
        redis.start()
        following = Gateway(redis.url, tmp_path)
        await following.meter.adopt(usage_directory(str(tmp_path), redis.url))
        assert await following.requests() == 1
        await following.meter.close()


async def test_more_than_fits_in_memory_waits_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "ENTRIES_MAX", 4)
    with redis_server() as redis:
        gateway = Gateway(redis.url, tmp_path)
        for number in range(23):
            gateway.meter.record(use(number))
        assert gateway.metric("waiting") == 23
        assert await gateway.meter.flush()
        gateway.meter.record(use(23))
        assert await gateway.meter.flush()
        assert await gateway.requests() == 24
        assert gateway.metric("repeated_total") == 0
        await gateway.meter.close()


async def test_days_are_utc_and_cost_is_that_of_the_day(tmp_path: Path) -> None:
    gateway = Gateway("", tmp_path, now_s=NOON_S + 43_199.9, prices=("m=100/10/1000",))
    gateway.meter.record(use(1))
    gateway.now_s += 0.2
    gateway.meter.record(use(2))
    await gateway.meter.flush()
    rows = await gateway.ledger.rows([DAY, "2026-02-01"])
    assert [row.day for row in rows] == [DAY, "2026-02-01"]
    assert rows[0].cost == pytest.approx((6 * 100 + 4 * 10 + 5 * 1000) / 1e6)
    assert rows[0].kv_seconds == 1.5


async def test_a_half_written_line_ends_a_log(tmp_path: Path) -> None:
    log = UsageLog.create(tmp_path)
    log.append(UsageEntry(1, DAY, "acme", "m", 10, 4, 5, 1_500, 0))
    with log.path.open("ab") as file:
        file.write(b'{"number":2,"da')
    assert [entry.number for entry in log.entries()] == [1]
    log.remove()


async def test_a_directory_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSetting, match="--usage-dir"):
        open_metering("redis://127.0.0.1:1/0", str(tmp_path / "file"), (), CollectorRegistry())


async def test_stores_do_not_get_each_others_logs(tmp_path: Path) -> None:
    assert usage_directory(str(tmp_path), "redis://a") != usage_directory(str(tmp_path), "redis://b")


async def test_a_disk_that_is_full_is_said_once_and_use_goes_on_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_redis() as store:
        gateway = Gateway(store, tmp_path)
        monkeypatch.setattr("services.gateway.accounts.metering.usage_log.SIZE_BYTES_MAX", 0)
        for number in range(3):
            gateway.meter.record(use(number))
        assert len(caplog.records) == 1
        await gateway.meter.flush()
        assert await gateway.requests() == 3
        await gateway.meter.close()


async def test_a_file_that_cannot_be_read_keeps_no_other_from_being_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_redis() as store:
        for moment in ("booked", "booked"):
            await asyncio.to_thread(run_until_killed, store, tmp_path, 4, moment)
        successor, directory = Gateway(store, tmp_path), usage_directory(str(tmp_path), store)
        broken = min(path for path in files_in(directory) if path.stat().st_size)
        read = UsageLog.entries

        def entries(log: UsageLog, after: int = 0) -> Iterator[UsageEntry]:
            if log.path == broken:
                raise OSError(24, "Too many open files")
            return read(log, after)

        monkeypatch.setattr(UsageLog, "entries", entries)
        with pytest.raises(OSError, match="Too many open files"):
            await successor.meter.adopt(directory)
        assert successor.metric("adopted_total") == 4
        monkeypatch.undo()
        await successor.meter.adopt(directory)
        assert successor.metric("adopted_total") == 8
        await successor.meter.close()


async def test_what_only_the_file_holds_is_counted_once_it_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_redis() as store:
        gateway = Gateway(store, tmp_path)
        monkeypatch.setattr(book, "ENTRIES_MAX", 2)
        for number in range(5):
            gateway.meter.record(use(number))
        with monkeypatch.context() as broken:
            broken.setattr(UsageLog, "entries", _unreadable)
            with pytest.raises(OSError, match="Too many open files"):
                await gateway.meter.flush()
        assert await gateway.meter.flush()
        assert await gateway.requests() == 5
        await gateway.meter.close()


def _unreadable(_log: UsageLog, after: int = 0) -> Iterator[UsageEntry]:
    raise OSError(24, f"Too many open files to read what follows {after}")
