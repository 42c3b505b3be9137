"""Quotas over REST and gRPC: headers that move, refusals, and every way in which a call can end."""

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import grpc
import openai
import pytest

from pdmesh.inference.v1 import inference_pb2, inference_pb2_grpc
from services.common.errors import QueueFull, RetriesExhausted
from services.common.limits import DEFAULTS
from tests.wire.accounting.conftest import keys_of, limited
from tests.wire.gateway.fake_router import Job
from tests.wire.gateway.keyed import error_code, eventually
from tests.wire.gateway.two_gateways import running_pair

TOKENS = 100


def left(headers: dict[str, str]) -> int:
    """Tokens that a response's headers leave; a few come back while a test runs."""
    return int(headers["x-ratelimit-remaining-tokens"])


async def test_answers_tell_what_is_left_and_it_moves(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path, tokens_per_minute=TOKENS, requests_per_minute=50) as it:
        first = await it.ask()
        assert first.headers["x-ratelimit-limit-tokens"] == str(TOKENS)
        assert first.headers["x-ratelimit-limit-requests"] == "50"
        assert left(first.headers) == TOKENS - 25
        assert first.headers["x-ratelimit-remaining-requests"] == "49"
        assert first.headers["x-ratelimit-reset-tokens"] == "15s"
        used = json.loads(first.body)["usage"]["total_tokens"]
        streamed = await it.ask(stream=True)
        assert TOKENS - used - 25 <= left(streamed.headers) <= TOKENS - used - 25 + 10


async def test_a_spent_quota_is_429_with_the_time_to_wait(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path, tokens_per_minute=TOKENS) as it:
        it.edge.router.script = lambda job: job.place()
        holding = await it.keys.begin(it.edge.port, max_tokens=90)
        await it.edge.router.job()
        refused = await it.ask(max_tokens=30)
        assert refused.status == 429
        assert error_code(refused) == "rate_limit_exceeded"
        assert json.loads(refused.body)["error"]["type"] == "tokens"
        assert 0 < int(refused.headers["retry-after"]) <= 18  # 30 tokens at 100 a minute
        assert left(refused.headers) < 35
        await holding.close()


async def test_a_request_that_never_fits_is_told_so(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path, tokens_per_minute=TOKENS) as it:
        refused = await it.ask(max_tokens=TOKENS)
        assert refused.status == 400
        assert error_code(refused) == "request_over_quota"
        assert "retry-after" not in refused.headers
        assert it.edge.router.jobs == []


async def test_an_open_max_tokens_is_what_the_quota_holds(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path, tokens_per_minute=TOKENS) as it:
        body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}).encode()
        request = it.keys.request().split(b"\r\n\r\n")[0].replace(b"/v1/completions", b"/v1/chat/completions")
        head = [line for line in request.split(b"\r\n") if not line.lower().startswith(b"content-length")]
        client = await it.edge.client()
        client.send(b"\r\n".join([*head, b"content-length: %d" % len(body), b"", body]))
        assert (await client.response()).status == 200
        await client.close()
        job = await it.edge.router.job()
        assert len(job.request.prompt) + job.request.sampling.max_tokens == TOKENS


def refuses(job: Job) -> None:
    job.end(error=QueueFull("full", retry_after_ms=100))


def breaks(job: Job) -> None:
    job.place()
    job.send([7, 8])
    job.end(error=RetriesExhausted("no"))


@pytest.mark.parametrize(
    ("script", "fields", "status", "cost"),
    [
        (None, {}, 200, "answer"),
        (None, {"stream": True}, 200, "answer"),
        (None, {"stop": "l"}, 200, "some"),
        (None, {"n": 2}, 200, "some"),
        (refuses, {}, 503, "nothing"),
        (breaks, {}, 502, "some"),
        (breaks, {"stream": True}, 200, "some"),
        (None, {"prompt": "x" * 5_000}, 400, "nothing"),
        (None, {"max_tokens": -1}, 400, "nothing"),
    ],
)
async def test_however_a_call_ends_its_quota_is_settled(
    model_directory: Path,
    tmp_path: Path,
    script: Callable[[Job], None] | None,
    fields: dict[str, object],
    status: int,
    cost: str,
) -> None:
    async with limited(model_directory, tmp_path, tokens_per_minute=1_000, concurrent=1) as it:
        it.edge.router.script = script or it.edge.says("Hello")
        assert (await it.ask(**fields)).status == status
        after = await it.ask()  # lets nobody else in while it runs, so nothing is left over
        assert after.headers.get("x-ratelimit-limit-tokens") == "1000"
        spent = 1_000 - 25 - left(after.headers)
        assert spent <= {"nothing": 0, "some": 12, "answer": 10}[cost]
        assert spent > -1


async def test_a_call_that_the_gateway_has_no_room_for_gives_all_back(
    model_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = dataclasses.replace(DEFAULTS, streams_per_gateway_max=1)
    monkeypatch.setattr("services.gateway.main.DEFAULTS", limits)
    async with limited(model_directory, tmp_path, tokens_per_minute=1_000, concurrent=2) as it:
        it.edge.router.script = lambda job: job.place()
        holding = await it.keys.begin(it.edge.port)
        job = await it.edge.router.job()
        for _ in range(3):  # 429 if a slot were kept
            assert error_code(await it.ask()) == "too_many_connections"
        job.end()
        assert left((await holding.response()).headers) == 1_000 - 25
        it.edge.router.script = it.edge.says("Hello")
        assert left((await it.ask()).headers) >= 1_000 - 2 * 25


async def test_a_client_that_leaves_pays_for_what_it_got(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path, tokens_per_minute=1_000, concurrent=1) as it:

        def begins(job: Job) -> None:
            job.place()
            job.send([7, 8, 9])

        it.edge.router.script = begins
        client = await it.keys.begin(it.edge.port, stream=True)
        await client.head()
        assert (await it.ask()).status == 429
        await client.close()
        await eventually(lambda: it.edge.router.jobs[0].is_cancelled)
        it.edge.router.script = it.edge.says("Hello")
        after = await it.ask()
        assert after.status == 200
        assert 1_000 - 25 - 8 <= left(after.headers) <= 1_000 - 25


async def test_grpc_callers_have_the_same_quota(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path, requests_per_minute=2) as it:
        await it.ask()
        async with grpc.aio.insecure_channel(it.edge.grpc) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            request = inference_pb2.CompleteRequest(model="tiny", prompt="Hi")
            metadata = (("authorization", f"Bearer {it.keys.acme}"),)
            async for _ in stub.Complete(request, metadata=metadata):
                pass
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                async for _ in stub.Complete(request, metadata=metadata):
                    pass
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "2 requests a minute" in str(refused.value.details())


async def test_openais_client_understands_limits(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path, requests_per_minute=1, tokens_per_minute=500) as it:
        url, key = f"{it.edge.url}/v1", it.keys.acme
        async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as client:
            ask = client.completions.with_raw_response.create
            answered = await ask(model="tiny", prompt="Hi", max_tokens=5)
            assert answered.headers["x-ratelimit-remaining-requests"] == "0"
            with pytest.raises(openai.RateLimitError) as refused:
                await ask(model="tiny", prompt="Hi", max_tokens=5)
        assert refused.value.code == "rate_limit_exceeded"
        assert float(refused.value.response.headers["retry-after"]) > 50


async def test_two_gateways_share_one_quota(model_directory: Path, tmp_path: Path, redis_url: str) -> None:
    keys = keys_of(tmp_path, requests_per_minute=3)
    own = {"tenants": str(keys.file), "usage_dir": str(tmp_path)}
    async with running_pair(model_directory, redis_url, **own) as pair:
        pair.router.script = answer_of(pair.ids("Hello"))
        ports = [pair.ports[i % 2] for i in range(6)]
        statuses = [(await keys.ask(port)).status for port in ports]
        assert sorted(statuses) == [200, 200, 200, 429, 429, 429]


def answer_of(ids: list[int]) -> Callable[[Job], None]:
    def script(job: Job) -> None:
        job.place()
        job.send(ids)
        job.end()

    return script


async def test_configured_to_refuse_a_gateway_without_its_redis_does(
    model_directory: Path, tmp_path: Path
) -> None:
    own = {"store": "redis://127.0.0.1:1/0", "store_failure": "closed", "usage_dir": str(tmp_path)}
    async with limited(model_directory, tmp_path, tokens_per_minute=1_000, settings=own) as it:
        refused = await it.ask()
        assert (refused.status, error_code(refused)) == (503, "quota_unknown")


async def test_by_default_it_goes_on_with_limits_of_its_own(model_directory: Path, tmp_path: Path) -> None:
    own = {"store": "redis://127.0.0.1:1/0", "usage_dir": str(tmp_path)}
    async with limited(model_directory, tmp_path, requests_per_minute=2, settings=own) as it:
        assert [(await it.ask()).status for _ in range(3)] == [200, 200, 429]


async def test_many_at_once_stay_within_the_limit(model_directory: Path, tmp_path: Path) -> None:
    async with limited(model_directory, tmp_path, requests_per_minute=5) as it:
        answers = await asyncio.gather(*(it.ask() for _ in range(12)))
        assert sorted(answer.status for answer in answers) == [200] * 5 + [429] * 7
