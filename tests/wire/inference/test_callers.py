"""Tenants, quotas and TLS over gRPC: the same as over REST."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from pdmesh.client import AsyncClient, RetryPolicy, Sampling, ServiceClass, Unreachable
from services.common.credentials import KeyRecord, TlsSettings, new_key
from services.common.errors import (
    ModelNotFound,
    QuotaExceeded,
    RequestOverQuota,
    Unauthenticated,
)
from services.gateway.settings import Settings
from tests.certificates import Authority
from tests.wire.gateway.conftest import Edge, announced_gateway, running_edge
from tests.wire.gateway.fake_router import FakeRouter, running_router

TENANTS = """
[tenants.acme]
keys = ["{acme}"]
service_class = "interactive"
max_tokens = 7
requests_per_minute = 2
[tenants.other]
keys = ["{other}"]
models = ["another"]
"""


@dataclass
class Tenanted:
    """A gateway with tenants."""

    edge: Edge
    acme: str
    other: str


@pytest.fixture
async def tenanted(model_directory: Path, tmp_path: Path) -> AsyncIterator[Tenanted]:
    acme, other = new_key(), new_key()
    file = tmp_path / "tenants.toml"
    file.write_text(TENANTS.format(acme=KeyRecord.of(acme), other=KeyRecord.of(other)))
    async with running_edge(model_directory, grace_ms=200, tenants=str(file)) as edge:
        edge.router.script = edge.says("hello")
        yield Tenanted(edge, acme, other)


@pytest.mark.parametrize("key", ["", "pdm_wrong"])
async def test_a_caller_without_a_credential_is_refused(tenanted: Tenanted, key: str) -> None:
    async with AsyncClient(tenanted.edge.grpc, api_key=key) as mesh:
        with pytest.raises(Unauthenticated):
            await mesh.chat("tiny", "Hi").whole()
        with pytest.raises(Unauthenticated):
            await mesh.models()
    assert tenanted.edge.router.jobs == []


async def test_the_tenant_follows_from_the_credential(tenanted: Tenanted) -> None:
    async with AsyncClient(tenanted.edge.grpc, api_key=tenanted.acme) as mesh:
        await mesh.chat("tiny", "Hi", Sampling(max_tokens=100)).whole()
    request = tenanted.edge.router.jobs[0].request
    assert (request.tenant, request.service_class) == ("acme", ServiceClass.INTERACTIVE)
    assert request.sampling.max_tokens == 7
    assert request.cache_salt


async def test_a_tenant_sees_its_models_only(tenanted: Tenanted) -> None:
    async with AsyncClient(tenanted.edge.grpc, api_key=tenanted.other) as mesh:
        assert await mesh.models() == {}
        for call in (
            mesh.chat("tiny", "Hi").whole(),
            mesh.tokenize("tiny", "x"),
            mesh.detokenize("tiny", [1]),
        ):
            with pytest.raises(ModelNotFound):
                await call


async def test_a_spent_quota_says_when_to_come_again(tenanted: Tenanted) -> None:
    once = RetryPolicy(attempts_max=1)
    async with AsyncClient(tenanted.edge.grpc, api_key=tenanted.acme, retries=once) as mesh:
        for _ in range(2):
            await mesh.chat("tiny", "Hi").whole()
        with pytest.raises((QuotaExceeded, RequestOverQuota)) as caught:
            await mesh.chat("tiny", "Hi").whole()
    assert caught.value.retry_after_ms
    assert len(tenanted.edge.router.jobs) == 2


@asynccontextmanager
async def tls_edge(directory: Path, tls: TlsSettings) -> AsyncIterator[str]:
    """A gateway whose ports are TLS; the address of its gRPC API, once it has its router."""
    router = FakeRouter()
    async with running_router(router) as router_port:
        routers = (f"127.0.0.1:{router_port}",)
        settings = Settings(port=0, model=str(directory), router=routers, grace_ms=200, tls=tls)
        async with announced_gateway(settings) as (facts, _):
            while not router.sessions:
                await asyncio.sleep(0.005)
            yield facts["grpc"]


def content(path: str) -> bytes:
    """A file's."""
    return Path(path).read_bytes()


@pytest.mark.parametrize("is_mutual", [False, True])
async def test_tls(model_directory: Path, tmp_path: Path, is_mutual: bool) -> None:
    authority = Authority(tmp_path)
    pair, own = authority.issue("gateway"), authority.issue("client")
    tls = TlsSettings(cert=pair.cert, key=pair.key, client_ca=authority.certificate if is_mutual else "")
    ca = content(authority.certificate)
    key, chain = content(own.key), content(own.cert)
    async with tls_edge(model_directory, tls) as address:
        credentials = grpc.ssl_channel_credentials(ca, key, chain)
        async with AsyncClient(address, credentials=credentials) as mesh:
            assert await mesh.tokenize("tiny", "x")
        once = RetryPolicy(attempts_max=1)
        async with AsyncClient(address, retries=once) as plain:
            with pytest.raises(Unreachable):
                await plain.models()
        if is_mutual:
            bare = grpc.ssl_channel_credentials(ca)
            async with AsyncClient(address, credentials=bare, retries=once) as nobody:
                with pytest.raises(Unreachable):
                    await nobody.models()
