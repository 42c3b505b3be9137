"""Keys over gRPC, tokens instead of keys, and tenants in Redis."""

import asyncio
import json
from pathlib import Path

import grpc
import pytest
import redis.asyncio

from pdmesh.client import AsyncClient, RetryPolicy, Sampling
from services.common.credentials import JwtSettings, KeyRecord, TlsSettings, new_key
from services.common.domain import ServiceClass
from services.common.errors import BadSetting, MeshError, Unauthenticated
from services.gateway.settings import Settings
from tests.certificates import Authority
from tests.redis_server import running_redis
from tests.unit.tenants.issuer import AUDIENCE, ISSUER, OTHER_RSA, RSA, document, jwk, token
from tests.wire.gateway.conftest import announced_gateway, running_edge
from tests.wire.gateway.fake_router import FakeRouter, running_router
from tests.wire.tenants.conftest import Tenanted

BODY = json.dumps({"model": "tiny", "prompt": "hello", "max_tokens": 5}).encode()


async def generate(
    address: str,
    key: str,
    credentials: grpc.ChannelCredentials | None = None,
    attempts_max: int = 8,
) -> list[int]:
    """The tokens of one answer over gRPC."""
    retries = RetryPolicy(attempts_max)
    async with AsyncClient(address, api_key=key, credentials=credentials, retries=retries) as client:
        return [
            token_id
            async for delta in client.generate("tiny", [1, 2], Sampling(max_tokens=9))
            for token_id in delta.token_ids
        ]


async def test_a_key_opens_the_grpc_api_and_its_cap_holds_there(tenanted: Tenanted) -> None:
    assert await generate(tenanted.edge.grpc, tenanted.acme)
    (job,) = tenanted.edge.router.jobs
    assert (job.request.tenant, job.request.tenant_weight) == ("acme", 2.5)
    assert job.request.service_class is ServiceClass.INTERACTIVE
    assert job.request.sampling.max_tokens == 7
    assert job.request.cache_salt
    for key in ("", new_key()):
        with pytest.raises(Unauthenticated):
            await generate(tenanted.edge.grpc, key)
    with pytest.raises(MeshError) as refused:
        await generate(tenanted.edge.grpc, tenanted.admin)
    assert refused.value.reason == "model_not_found"
    assert len(tenanted.edge.router.jobs) == 1


async def test_the_grpc_api_speaks_tls(model_directory: Path, tmp_path: Path) -> None:
    authority, router = Authority(tmp_path), FakeRouter()
    edge, client = authority.issue("edge"), authority.issue("client")

    def script(job) -> None:
        job.place()
        job.send([5])
        job.end()

    router.script = script
    ca = Path(authority.certificate).read_bytes()  # noqa: ASYNC240
    pair = (Path(client.key).read_bytes(), Path(client.cert).read_bytes())  # noqa: ASYNC240
    async with running_router(router) as router_port:
        settings = Settings(
            port=0,
            model=str(model_directory),
            router=(f"127.0.0.1:{router_port}",),
            grace_ms=200,
            tls=TlsSettings(edge.cert, edge.key, authority.certificate),
        )
        async with announced_gateway(settings) as (facts, _), asyncio.timeout(30):
            assert await generate(facts["grpc"], "", grpc.ssl_channel_credentials(ca, *pair)) == [5]
            for credentials in (None, grpc.ssl_channel_credentials(ca)):
                with pytest.raises(MeshError):
                    await generate(facts["grpc"], "", credentials, attempts_max=1)
    assert len(router.jobs) == 1


async def test_a_token_is_as_good_as_a_key(model_directory: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_bytes(document(jwk(RSA, "RS256")))
    jwt = JwtSettings(str(keys), ISSUER, (AUDIENCE,))
    async with running_edge(model_directory, grace_ms=200, jwt=jwt) as edge:
        edge.router.script = edge.says("hello")
        asking = Tenanted(edge, tmp_path, "", "")
        good = token(service_class="batch")
        assert (await asking.complete(BODY, f"authorization: Bearer {good}")).status == 200
        (job,) = edge.router.jobs
        assert (job.request.tenant, job.request.service_class) == ("acme", ServiceClass.BATCH)
        for wrong in (token(key=OTHER_RSA), token(exp=1), token(aud="others"), "none"):
            assert (await asking.complete(BODY, f"authorization: Bearer {wrong}")).status == 401
        unknown = await asking.complete(BODY, f"authorization: Bearer {token(key=OTHER_RSA, kid='new')}")
        assert unknown.status in (401, 503)
        assert len(edge.router.jobs) == 1


async def test_tenants_in_redis_are_followed(model_directory: Path, tmp_path: Path) -> None:
    key, new = new_key(), new_key()
    with running_redis() as url:
        async with redis.asyncio.Redis.from_url(url) as store:
            settings = {"grace_ms": 200, "tenants": "redis", "store": url}
            with pytest.raises(BadSetting, match="pdmesh:tenants"):
                async with running_edge(model_directory, **settings):
                    pass
            await store.set("pdmesh:tenants", f'[tenants.acme]\nkeys = ["{KeyRecord.of(key)}"]')
            async with running_edge(model_directory, **settings) as edge:
                edge.router.script = edge.says("hello")
                asking = Tenanted(edge, tmp_path, "", "")
                assert (await asking.complete(BODY, f"x-api-key: {key}")).status == 200
                written = {"tenants": {"acme": {"keys": [str(KeyRecord.of(new))]}}}
                await store.set("pdmesh:tenants", json.dumps(written))
                async with asyncio.timeout(20):
                    while (await asking.complete(BODY, f"x-api-key: {new}")).status != 200:
                        await asyncio.sleep(0.05)
                assert (await asking.complete(BODY, f"x-api-key: {key}")).status == 401
