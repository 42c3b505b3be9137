"""Who is let in at the REST API, and with what."""

import asyncio
import json

import openai
import pytest

from services.common.credentials import KeyRecord, new_key
from services.common.domain import ServiceClass
from tests.wire.gateway.conftest import Edge, running_edge
from tests.wire.tenants.conftest import Tenanted

BODY = {"model": "tiny", "prompt": "hello", "max_tokens": 5}


def body(**changes: object) -> bytes:
    return json.dumps({name: value for name, value in (BODY | changes).items() if value is not None}).encode()


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/models/tiny", "/metrics", "/load", "/admin/usage", "/nowhere"]
)
async def test_without_a_key_nothing_is_told(tenanted: Tenanted, path: str):
    refused = await tenanted.get(path)
    assert refused.status == 401
    assert refused.headers["www-authenticate"] == 'Bearer realm="pdmesh"'
    error = json.loads(refused.body)["error"]
    assert (error["type"], error["code"], error["param"]) == (
        "invalid_request_error",
        "invalid_api_key",
        None,
    )
    assert "x-request-id" in refused.headers


async def test_probes_need_no_key(tenanted: Tenanted):
    assert (await tenanted.get("/health")).status == 200
    assert (await tenanted.get("/ready")).status == 200


async def test_a_wrong_key_generates_nothing(tenanted: Tenanted):
    for header in (f"x-api-key: {new_key()}", "authorization: Bearer none", "authorization: Basic eDp5"):
        assert (await tenanted.complete(body(), header)).status == 401
    assert tenanted.edge.router.jobs == []


@pytest.mark.parametrize("header", ["authorization: Bearer {}", "x-api-key: {}", "api-key: {}"])
async def test_a_tenants_request_reaches_the_router_as_the_tenants(tenanted: Tenanted, header: str):
    answered = await tenanted.complete(body(), header.format(tenanted.acme))
    assert answered.status == 200
    (job,) = tenanted.edge.router.jobs
    request = job.request
    assert (request.tenant, request.tenant_weight) == ("acme", 2.5)
    assert request.service_class is ServiceClass.INTERACTIVE
    assert request.cache_salt
    assert request.sampling.max_tokens == 5
    assert "x-pdmesh-max-tokens" not in answered.headers


async def test_two_tenants_never_share_a_cache(tenanted: Tenanted):
    file = tenanted.file.read_text().replace('models = ["other"]', "")
    tenanted.file.write_text(file)
    while (await tenanted.complete(body(), f"x-api-key: {tenanted.admin}")).status != 200:
        await asyncio.sleep(0.05)
    await tenanted.complete(body(), f"x-api-key: {tenanted.acme}")
    salts = {job.request.tenant: job.request.cache_salt for job in tenanted.edge.router.jobs}
    assert len({*salts.values(), ""}) == 3


@pytest.mark.parametrize("asked", [8, 100_000, None])
async def test_an_answer_is_capped_and_told_so(tenanted: Tenanted, asked: int | None):
    answered = await tenanted.complete(body(max_tokens=asked), f"x-api-key: {tenanted.acme}")
    assert answered.status == 200
    assert tenanted.edge.router.jobs[0].request.sampling.max_tokens == 7
    assert answered.headers["x-pdmesh-max-tokens"] == "7"


async def test_an_answer_that_must_be_longer_than_its_cap_is_refused(tenanted: Tenanted):
    answered = await tenanted.complete(body(max_tokens=9, min_tokens=8), f"x-api-key: {tenanted.acme}")
    assert answered.status == 400
    assert json.loads(answered.body)["error"]["param"] == "min_tokens"


async def test_models_of_others_do_not_exist(tenanted: Tenanted):
    key = f"x-api-key: {tenanted.admin}"
    assert json.loads((await tenanted.get("/v1/models", key)).body)["data"] == []
    assert (await tenanted.get("/v1/models/tiny", key)).status == 404
    refused = await tenanted.complete(body(), key)
    assert refused.status == 404
    assert json.loads(refused.body)["error"]["code"] == "model_not_found"
    seen = json.loads((await tenanted.get("/v1/models", f"x-api-key: {tenanted.acme}")).body)["data"]
    assert [model["id"] for model in seen] == ["tiny"]


async def test_metrics_can_be_for_admins(tenanted: Tenanted):
    assert (await tenanted.get("/metrics", f"x-api-key: {tenanted.acme}")).status == 403
    assert (await tenanted.get("/load", f"x-api-key: {tenanted.acme}")).status == 403
    shown = await tenanted.get("/metrics", f"x-api-key: {tenanted.admin}")
    assert shown.status == 200
    assert b"pdmesh_gateway_tenants 2.0" in shown.body


async def test_a_new_key_works_and_a_removed_one_does_not_without_a_restart(tenanted: Tenanted):
    new = new_key()
    tenanted.file.write_text(f'[tenants.acme]\nkeys = ["{KeyRecord.of(new)}"]\n')
    while (await tenanted.complete(body(), f"x-api-key: {new}")).status == 401:
        await asyncio.sleep(0.05)
    assert (await tenanted.complete(body(), f"x-api-key: {tenanted.acme}")).status == 401


async def test_the_official_client_knows_the_refusal(tenanted: Tenanted):
    async with openai.AsyncOpenAI(
        base_url=f"{tenanted.edge.url}/v1", api_key="wrong", max_retries=0
    ) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.completions.create(**BODY)
    assert refused.value.code == "invalid_api_key"
    async with openai.AsyncOpenAI(base_url=f"{tenanted.edge.url}/v1", api_key=tenanted.acme) as client:
        assert (await client.completions.create(**BODY)).choices[0].text == "hello"


async def test_without_tenants_everybody_is_welcome_whatever_they_send(edge: Edge):
    edge.router.script = edge.says("hello")
    client = Tenanted(edge, edge, "", "")  # type: ignore[arg-type]
    for header in ("x-api-key: none", "authorization: Bearer sk-nothing", "x-a: b"):
        assert (await client.complete(body(), header)).status == 200
        assert (await client.get("/metrics", header)).status == 200
    assert {job.request.tenant for job in edge.router.jobs} == {""}
    assert {job.request.cache_salt for job in edge.router.jobs} == {""}


@pytest.fixture
async def edge(model_directory):
    async with running_edge(model_directory, grace_ms=200) as running:
        yield running
