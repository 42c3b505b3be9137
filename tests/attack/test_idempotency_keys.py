"""Idempotency keys: each run is booked, and one tenant's keys do not cost another its kept answers."""

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.limits import DEFAULTS
from tests.redis_server import running_redis
from tests.wire.accounting.conftest import Limited, limited
from tests.wire.gateway.conftest import close_clients, model_directory
from tests.wire.gateway.raw_http import RawClient, post

__all__ = ["close_clients", "model_directory"]

KEYS_MAX = 4


@pytest.fixture
def redis_url() -> Iterator[str]:
    with running_redis() as url:
        yield url


@pytest.fixture(autouse=True)
def few_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that remembers few keys."""
    limits = dataclasses.replace(DEFAULTS, idempotency_keys_max=KEYS_MAX)
    monkeypatch.setattr("services.gateway.main.DEFAULTS", limits)


async def ask(it: Limited, key: str, api_key: str) -> None:
    """One completion under an idempotency key."""
    body = json.dumps({"model": "tiny", "prompt": [1, 2, 3], "max_tokens": 8}).encode()
    client = await RawClient.connect(it.edge.port)
    client.send(post("/v1/completions", body, f"authorization: Bearer {api_key}", f"idempotency-key: {key}"))
    assert (await client.response()).status == 200
    await client.close()


async def run_again(it: Limited, key: str) -> None:
    """Ask under a key until it runs anew: a dropped answer leaves Redis a moment later."""
    runs = len(it.edge.router.jobs)
    while len(it.edge.router.jobs) == runs:
        await ask(it, key, it.keys.acme)


async def booked(it: Limited) -> int:
    return sum(row["requests"] for row in await it.keys.rows(it.edge.port))


async def test_a_key_whose_answer_was_pushed_out_is_booked_for_each_run(
    model_directory: Path, tmp_path: Path, redis_url: str
) -> None:
    own = {"store": redis_url, "usage_dir": str(tmp_path)}
    async with limited(model_directory, tmp_path, settings=own) as it:
        await ask(it, "again", it.keys.acme)
        for number in range(KEYS_MAX):
            await ask(it, f"other-{number}", it.keys.acme)
        await run_again(it, "again")
        assert await booked(it) == len(it.edge.router.jobs) == KEYS_MAX + 2


async def test_a_key_whose_time_is_over_is_booked_for_each_run(
    model_directory: Path, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = dataclasses.replace(DEFAULTS, idempotency_ttl_ms=20)
    monkeypatch.setattr("services.gateway.main.DEFAULTS", limits)
    own = {"store": redis_url, "usage_dir": str(tmp_path)}
    async with limited(model_directory, tmp_path, settings=own) as it:
        for _ in range(3):
            await run_again(it, "again")
        assert await booked(it) == len(it.edge.router.jobs) == 3


async def test_a_key_that_ran_on_a_gateway_that_is_gone_is_booked_for_each_run(
    model_directory: Path, tmp_path: Path, redis_url: str
) -> None:
    """Without the first one's Redis the second cannot know of the run."""
    own = {"usage_dir": str(tmp_path)}
    async with limited(model_directory, tmp_path, settings={**own, "store": redis_url}) as it:
        await ask(it, "again", it.keys.acme)
        assert await booked(it) == 1
        async with limited(model_directory, tmp_path, settings=own) as other:
            await ask(other, "again", other.keys.acme)
            assert await booked(other) == 1


async def test_replays_and_readers_who_join_are_booked_with_their_run(
    model_directory: Path, tmp_path: Path, redis_url: str
) -> None:
    own = {"store": redis_url, "usage_dir": str(tmp_path)}
    async with limited(model_directory, tmp_path, settings=own) as it:
        await asyncio.gather(*(ask(it, "same", it.keys.acme) for _ in range(5)))
        await ask(it, "same", it.keys.acme)
        assert await booked(it) == len(it.edge.router.jobs) == 1


async def test_a_tenant_that_floods_does_not_push_out_anothers_answer(
    model_directory: Path, tmp_path: Path
) -> None:
    async with limited(model_directory, tmp_path) as it:
        await ask(it, "mine", it.keys.admin)
        for number in range(3 * KEYS_MAX):
            await ask(it, f"flood-{number}", it.keys.acme)
        runs = len(it.edge.router.jobs)
        await ask(it, "mine", it.keys.admin)
        assert len(it.edge.router.jobs) == runs
