"""Budgets of money from the tenants file to the answer's head, the refusal and `pdmesh usage`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import openai
import pytest

from pdmesh.inference.v1 import inference_pb2, inference_pb2_grpc
from services.cli.main import main
from tests.wire.accounting.conftest import Limited, keys_of, limited
from tests.wire.accounting.test_quota import answer_of
from tests.wire.gateway.keyed import error_code
from tests.wire.gateway.raw_http import post
from tests.wire.gateway.two_gateways import running_pair

PRICE = {"price": ("tiny=1000/1000/1000",)}
"""A thousandth for each token."""


def remaining(headers: dict[str, str], period: str = "day") -> float:
    return float(headers[f"x-pdmesh-budget-remaining-{period}"])


async def asked(it: Limited, tokens: int) -> Any:
    """A completion of so many tokens, prompt and answer together."""
    it.edge.router.script = it.edge.says_ids([7] * (tokens - 5))
    return await it.ask(max_tokens=tokens - 5)


async def test_a_budget_is_spent_to_the_end_and_then_a_429(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path, budget_per_day=0.1, settings=PRICE) as it:
        first = await asked(it, 60)
        assert first.headers["x-pdmesh-budget-limit-day"] == "0.1"
        assert first.headers["x-pdmesh-budget-reset-day"].endswith("T00:00:00Z")
        assert "x-pdmesh-budget-warning" not in first.headers
        assert (await asked(it, 40)).status == 200
        refused = await asked(it, 6)
        assert (refused.status, error_code(refused)) == (429, "insufficient_quota")
        error = json.loads(refused.body)["error"]
        assert error["type"] == "insufficient_quota"
        assert refused.headers["x-pdmesh-budget-reset-day"] in error["message"]
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
        assert (remaining(refused.headers), refused.headers["x-should-retry"]) == (0, "false")
        assert refused.headers["x-pdmesh-budget-warning"] == "100% of the day's budget is spent"
        metrics = await it.edge.metrics()
        assert metrics['pdmesh_gateway_quota_refusals_total{limit="budget_day"}'] == 1
        assert metrics['pdmesh_gateway_budget_warnings_total{period="day"}'] == 1


async def test_an_open_max_tokens_is_what_is_left_of_it(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path, budget_per_month=0.1, settings=PRICE) as it:
        await asked(it, 40)
        body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}).encode()
        client = await it.edge.client()
        client.send(post("/v1/chat/completions", body, f"authorization: Bearer {it.keys.acme}"))
        assert (await client.response()).status == 200
        await client.close()
        job = await it.edge.router.job(2)
        assert len(job.request.prompt) + job.request.sampling.max_tokens == 60


async def test_a_request_dearer_than_the_budget_is_a_400(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path, budget_per_day=0.1, settings=PRICE) as it:
        refused = await it.ask(max_tokens=96)
        assert (refused.status, error_code(refused)) == (400, "request_over_quota")


async def test_openais_client_does_not_try_again(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path, budget_per_day=0.02, settings=PRICE) as it:
        url, key = f"{it.edge.url}/v1", it.keys.acme
        await asked(it, 20)
        async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=2) as client:
            with pytest.raises(openai.RateLimitError) as refused:
                await client.completions.create(model="tiny", prompt=[1], max_tokens=5)
        assert refused.value.code == "insufficient_quota"
        metrics = await it.edge.metrics()
        assert metrics['pdmesh_gateway_quota_refusals_total{limit="budget_day"}'] == 1


async def test_grpc_callers_have_the_same_budget(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path, budget_per_day=0.02, settings=PRICE) as it:
        await asked(it, 20)
        async with grpc.aio.insecure_channel(it.edge.grpc) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            request = inference_pb2.CompleteRequest(model="tiny", prompt="Hi")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                async for _ in stub.Complete(
                    request, metadata=(("authorization", f"Bearer {it.keys.acme}"),)
                ):
                    pass
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "budget of 0.02 a day" in str(refused.value.details())


async def test_usage_shows_budgets(
    model_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = {"budget_per_day": 0.1, "budget_per_month": 2, "budget_warning": 0.5}
    async with limited(model_directory, tmp_path, settings=PRICE, **limits) as it:
        await asked(it, 60)
        told = ["usage", "--url", it.edge.url, "--api-key", it.keys.admin]
        assert await asyncio.to_thread(main, [*told, "--budgets", "--json"]) == 0
        day, month = json.loads(capsys.readouterr().out)
        assert (day["tenant"], day["period"], day["limit"], day["spent"]) == ("acme", "day", 0.1, 0.06)
        assert (month["period"], month["limit"], month["spent"]) == ("month", 2.0, 0.06)
        assert month["spent_share"] == pytest.approx(0.03)
        assert await asyncio.to_thread(main, told) == 0
        shown = capsys.readouterr().out.splitlines()
        assert shown[-3].split() == ["tenant", "budget", "for", "spent", "of", "share", "resets", "at"]
        assert "60.0% !" in shown[-2]
        assert await asyncio.to_thread(main, [*told, "--budgets", "--tenant", "other"]) == 0
        assert capsys.readouterr().out == "no tenant has a budget\n"


async def test_budgets_without_prices_are_warned_of(
    model_directory: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with limited(model_directory, tmp_path, budget_per_day=1):
        assert "no --price is set" in caplog.text


async def test_two_gateways_and_a_redis_share_one_budget(
    model_directory: Path, tmp_path: Path, redis_url: str
) -> None:
    keys = keys_of(tmp_path, budget_per_day=0.25)
    own = {"tenants": str(keys.file), "usage_dir": str(tmp_path), **PRICE}
    async with running_pair(model_directory, redis_url, **own) as pair:
        pair.router.script = answer_of([7] * 20)
        asking = [keys.ask(pair.ports[i % 2], max_tokens=20) for i in range(16)]
        statuses = sorted([response.status for response in await asyncio.gather(*asking)])
        assert statuses == [200] * 10 + [429] * 6
        spent = sum(row["cost"] for row in await keys.rows(pair.ports[0]))
        assert spent == pytest.approx(0.25)
        assert {(await keys.ask(port, max_tokens=1)).status for port in pair.ports} == {429}
