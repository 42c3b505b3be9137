"""What tenants used, from the request to /admin/usage, through gateways that die."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from pdmesh.router.v1 import router_pb2
from services.cli.main import main
from services.common.domain import EmbeddingModel
from services.common.domain.embedding import vector
from services.common.rpc.embedding import model_to_wire
from services.common.store.client import RedisClient
from tests.wire.accounting.conftest import Keys, keys_of, limited
from tests.wire.accounting.test_quota import answer_of
from tests.wire.gateway.conftest import Edge, running_edge
from tests.wire.gateway.fake_router import Job
from tests.wire.gateway.keyed import error_code, eventually
from tests.wire.gateway.two_gateways import running_pair, running_process

PRICE = {"price": ("tiny=1000/100/2000",)}


async def test_answers_are_in_the_report_as_soon_as_they_are_whole(
    model_directory: Path, tmp_path: Path
) -> None:
    async with limited(model_directory, tmp_path, settings=PRICE) as it:
        usage = [json.loads((await it.ask()).body)["usage"] for _ in range(2)]
        await it.ask(stream=True)
        (row,) = await it.keys.rows(it.edge.port)
        generated = usage[0]["completion_tokens"]
        assert row["day"] in (today().isoformat(), (today() - timedelta(days=1)).isoformat())
        assert (row["tenant"], row["model"], row["requests"]) == ("acme", "tiny", 3)
        assert (row["prompt_tokens"], row["cached_tokens"], row["generated_tokens"]) == (15, 9, 3 * generated)
        assert row["cost"] == pytest.approx((6 * 1000 + 9 * 100 + 3 * generated * 2000) / 1e6)
        assert row["kv_seconds"] == 0.0  # the scripted router's receipts have no times


async def test_an_adapter_is_booked_under_the_name_that_was_asked_for(
    model_directory: Path, tmp_path: Path
) -> None:
    served = router_pb2.Model(
        name="tiny", max_model_len=400, prefill_workers=1, decode_workers=1, adapters=["style", "law-2026"]
    )
    names = tmp_path / "models.toml"
    names.write_text('[adapters.lawyer]\nmodel = "tiny"\nadapter = "law-2026"\n')
    prices = ("tiny=1000/100/2000", "lawyer=2000/200/4000")
    settings = {"price": prices, "models": [served], "models_file": str(names)}
    async with limited(model_directory, tmp_path, settings=settings) as it:
        for model in ("tiny", "style", "lawyer"):
            assert (await it.ask(model=model)).status == 200
        rows = {row["model"]: row for row in await it.keys.rows(it.edge.port)}
        assert sorted(rows) == ["lawyer", "style", "tiny"]
        assert rows["style"]["cost"] == rows["tiny"]["cost"] > 0
        assert rows["lawyer"]["cost"] == pytest.approx(2 * rows["tiny"]["cost"])


async def test_vectors_take_from_the_quota_and_are_booked(model_directory: Path, tmp_path: Path) -> None:
    gives = EmbeddingModel(4)
    pooling = router_pb2.Model(
        name="vectors", max_model_len=400, prefill_workers=1, embedding_model=model_to_wire(gives)
    )
    settings = {"price": ("vectors=1000/100/0",), "models": [pooling]}
    async with limited(model_directory, tmp_path, tokens_per_minute=20, settings=settings) as it:
        it.edge.router.script = lambda job: job.end(vector=vector([0.5] * 4))
        made = await it.keys.embed(it.edge.port, [[1] * 7, [2] * 6])
        assert (made.status, made.headers["x-ratelimit-remaining-tokens"]) == (200, "7")
        assert (await it.keys.embed(it.edge.port, [[1] * 13])).status == 429
        (row,) = await it.keys.rows(it.edge.port)
        assert (row["model"], row["requests"], row["prompt_tokens"]) == ("vectors", 1, 13)
        assert (row["cached_tokens"], row["generated_tokens"]) == (6, 0)
        assert row["cost"] == pytest.approx((7 * 1000 + 6 * 100) / 1e6)


async def test_half_an_answer_counts_and_a_refused_request_does_not(
    model_directory: Path, tmp_path: Path
) -> None:
    async with limited(model_directory, tmp_path) as it:

        def begins(job: Job) -> None:
            job.place()
            job.send([7, 8, 9])

        it.edge.router.script = begins
        client = await it.keys.begin(it.edge.port, stream=True)
        await client.head()
        await client.close()
        await eventually(lambda: it.edge.router.jobs[0].is_cancelled)
        assert (await it.ask(max_tokens=-1)).status == 400
        (row,) = await it.keys.rows(it.edge.port)
        assert (row["requests"], row["prompt_tokens"], row["generated_tokens"]) == (1, 5, 3)
        assert row["kv_seconds"] > 0


async def test_a_repeated_key_is_booked_once(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path) as it:
        for _ in range(3):
            assert (await it.ask(headers=["idempotency-key: k"])).status == 200
        (row,) = await it.keys.rows(it.edge.port)
        assert row["requests"] == 1


async def test_the_report_is_json_or_csv_for_the_days_and_tenant_asked_for(
    model_directory: Path, tmp_path: Path
) -> None:
    async with limited(model_directory, tmp_path) as it:
        await it.ask()
        span = f"?from={today() - timedelta(days=2)}&to={today() + timedelta(days=1)}"
        body = json.loads((await it.keys.usage(it.edge.port, span)).body)
        assert body["from"] == str(today() - timedelta(days=2))
        assert len(body["data"]) == 1
        text = await it.keys.usage(it.edge.port, span + "&format=csv&tenant=acme")
        assert text.headers["content-type"].startswith("text/csv")
        (line,) = csv.DictReader(io.StringIO(text.body.decode()))
        assert (line["tenant"], line["requests"]) == ("acme", "1")
        assert await it.keys.rows(it.edge.port, span + "&tenant=other") == []
        assert await it.keys.rows(it.edge.port, "?day=2020-02-29") == []


async def test_the_command_shows_the_same(
    model_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with limited(model_directory, tmp_path) as it:
        await it.ask()
        told = ["usage", "--url", it.edge.url, "--api-key", it.keys.admin, "--tenant", "acme", "--json"]
        assert await asyncio.to_thread(main, told) == 0
        assert json.loads(capsys.readouterr().out) == await it.keys.rows(it.edge.port)
        assert await asyncio.to_thread(main, [*told, "--day", "never"]) == 1
        assert "day: must be a date" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?day=yesterday", "day"),
        ("?day=2026-02-30", "day"),
        ("?from=2026-01-02&to=2026-01-01", "from"),
        ("?from=2020-01-01&to=2026-01-01", "from"),
        ("?day=2026-01-01&to=2026-01-01", "day"),
        ("?format=xml", "format"),
        ("?Tenant=a", "Tenant"),
    ],
)
async def test_parameters_that_are_none_are_named(edge: Edge, query: str, field: str) -> None:
    client = await edge.client()
    client.send(b"GET /admin/usage%b HTTP/1.1\r\nhost: a\r\n\r\n" % query.encode())
    refused = await client.response()
    assert refused.status == 400
    assert json.loads(refused.body)["error"]["param"] == field


async def test_only_admins_see_it_where_there_are_tenants(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path) as it:
        assert (await it.keys.usage(it.edge.port, key=it.keys.acme)).status == 403
        assert (await it.keys.usage(it.edge.port, key="")).status == 401


async def test_everybody_sees_it_where_there_are_none(edge: Edge) -> None:
    client = await edge.client()
    client.send(b"GET /admin/usage HTTP/1.1\r\nhost: a\r\n\r\n")
    assert json.loads((await client.response()).body)["data"] == []


async def test_without_its_redis_it_says_so(model_directory: Path, tmp_path: Path) -> None:
    own = {"store": "redis://127.0.0.1:1/0", "usage_dir": str(tmp_path)}
    async with limited(model_directory, tmp_path, settings=own) as it:
        assert (await it.ask()).status == 200
        refused = await it.keys.usage(it.edge.port)
        assert (refused.status, error_code(refused)) == (503, "usage_unavailable")


async def test_gateways_add_up_in_redis(model_directory: Path, tmp_path: Path, redis_url: str) -> None:
    keys = keys_of(tmp_path)
    own = {"tenants": str(keys.file), "usage_dir": str(tmp_path)}
    async with running_pair(model_directory, redis_url, **own) as pair:
        pair.router.script = answer_of(pair.ids("Hello"))
        for port in (*pair.ports, *pair.ports):
            assert (await keys.ask(port)).status == 200
        await requests_counted(keys, pair.ports[0], 4)


async def requests_counted(keys: Keys, port: int, count: int) -> None:
    """Wait until so many are counted, and see that they are no more."""
    while (counted := sum(row["requests"] for row in await keys.rows(port))) < count:
        await asyncio.sleep(0.05)
    assert counted == count


@pytest.mark.timeout(120)
async def test_a_gateway_killed_between_answer_and_flush_loses_and_repeats_nothing(
    model_directory: Path, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis takes no writes while the answers end, so that none of them can have been counted."""
    monkeypatch.setattr("services.gateway.accounts.metering.meter.ABANDONED_S", 0.1)
    keys, directory = keys_of(tmp_path), tmp_path / "usage"
    own = {"tenants": str(keys.file), "usage_dir": str(directory)}
    redis = RedisClient(redis_url, timeout_s=5.0, connections_max=1)
    flags = ("--tenants", str(keys.file), "--usage-dir", str(directory))
    async with running_pair(model_directory, redis_url, **own) as pair:
        pair.router.script = answer_of(pair.ids("Hello"))
        async with running_process(pair, *flags) as (process, port):
            await keys.ask(port)
            await requests_counted(keys, pair.ports[0], 1)
            await redis.redis.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
            answers = await asyncio.gather(*(keys.ask(port) for _ in range(7)))
            assert {answer.status for answer in answers} == {200}
            process.kill()
            await process.wait()
            await redis.redis.execute_command("CLIENT", "UNPAUSE")
            await requests_counted(keys, pair.ports[0], 8)
            while any(len(file.read_bytes()) for file in directory.rglob("*.usage")):
                await asyncio.sleep(0.05)
            await requests_counted(keys, pair.ports[1], 8)
    await redis.close()


def today() -> date:
    return datetime.now(UTC).date()


@pytest.fixture
async def edge(model_directory: Path) -> AsyncIterator[Edge]:
    """A gateway without tenants."""
    async with running_edge(model_directory, grace_ms=200) as running:
        yield running
