"""A router with a secret and mutual TLS: who gets through, gateway, worker and operator alike."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from pdmesh.router.v1 import router_pb2_grpc
from services.cli.operator.client import OperatorClient
from services.common.credentials import MeshSettings, Security
from services.common.errors import RegistrationRefused, RouterUnavailable, Unauthenticated
from services.common.rpc import error_from_rpc, open_channel
from services.decode.main import serve as serve_decode
from services.decode.settings import Settings as DecodeSettings
from services.gateway.main import serve as serve_gateway
from services.gateway.settings import Settings as GatewaySettings
from services.router.main import serve as serve_router
from services.router.settings import Settings as RouterSettings
from services.worker import EngineArguments, WorkerSettings
from tests.certificates import Authority
from tests.wire.gateway.conftest import become_ready

SECRET = "a secret of the mesh".replace(" ", "-")
WAIT_S = 30.0
INSTANT = ("profile=instant", "max-model-len=400")


class Process:
    """One service of the mesh, in this process."""

    def __init__(self, serve, settings) -> None:
        self.stop = asyncio.Event()
        self.ready: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self.serving = asyncio.create_task(
            serve(settings, self.stop, self.ready.set_result, CollectorRegistry())
        )

    async def url(self) -> str:
        async with asyncio.timeout(WAIT_S):
            await asyncio.wait([self.serving, self.ready], return_when=asyncio.FIRST_COMPLETED)
        if self.serving.done():
            await self.serving
        return self.ready.result()["url"]


@contextlib.asynccontextmanager
async def running(serve, settings) -> AsyncIterator[Process]:
    process = Process(serve, settings)
    try:
        yield process
    finally:
        process.stop.set()
        await asyncio.wait([process.serving])


@pytest.fixture
def mesh(authority: Authority, tmp_path: Path) -> MeshSettings:
    """What all members are told."""
    (tmp_path / "secret").write_text(SECRET)
    pair = authority.issue("member")
    return MeshSettings(
        tls_cert=pair.cert,
        tls_key=pair.key,
        tls_ca=authority.certificate,
        mtls=True,
        secret_file=str(tmp_path / "secret"),
    )


@pytest.fixture
async def router(mesh: MeshSettings) -> AsyncIterator[str]:
    """Its address."""
    async with running(serve_router, RouterSettings(port=0, grace_ms=50, mesh=mesh)) as process:
        yield await process.url()


@pytest.fixture
async def secret_router() -> AsyncIterator[str]:
    """One that has a secret and speaks plain text."""
    settings = RouterSettings(port=0, grace_ms=50, mesh=MeshSettings(secret=SECRET))
    async with running(serve_router, settings) as process:
        yield await process.url()


def worker(router: str, mesh: MeshSettings) -> DecodeSettings:
    return DecodeSettings(
        worker=WorkerSettings(model="tiny", engine="sim", routers=(router,), grace_ms=50, mesh=mesh),
        engine_arguments=EngineArguments(engine_arg=INSTANT),
    )


async def test_a_mesh_with_certificates_and_a_secret_serves(
    router: str, mesh: MeshSettings, model_directory: Path
):
    settings = GatewaySettings(
        port=0, grpc_port=0, model=str(model_directory), router=(router,), grace_ms=50, mesh=mesh
    )
    async with (
        running(serve_decode, worker(router, mesh)) as decode,
        running(serve_gateway, settings) as gateway,
        OperatorClient(router, 5_000, mesh.security()) as operator,
    ):
        await decode.url()
        async with asyncio.timeout(WAIT_S):
            await become_ready(int((await gateway.url()).rsplit(":", 1)[1]))
        assert await operator.is_serving()
        assert len((await operator.fleet()).workers) == 1


@pytest.mark.parametrize("shown", [(), ("x" * 20,), (SECRET + "x",)])
async def test_every_service_of_the_router_refuses_callers_without_the_secret(
    secret_router: str, shown: tuple[str, ...]
):
    security = Security(secrets=shown)
    async with OperatorClient(secret_router, 5_000, security) as operator:
        with pytest.raises(Unauthenticated):
            await operator.fleet()
        with pytest.raises(Unauthenticated):
            await operator.forgive()
        assert await operator.is_serving()  # health is open
    async with open_channel(secret_router) as channel:
        call = router_pb2_grpc.RouterServiceStub(channel).Connect(metadata=security.metadata)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
    assert isinstance(error_from_rpc(refused.value), Unauthenticated)


async def test_a_worker_without_the_secret_ends_with_one_line(secret_router: str):
    async with running(serve_decode, worker(secret_router, MeshSettings())) as decode:
        with pytest.raises(RegistrationRefused, match="secret"):
            await decode.url()


async def test_a_gateway_without_the_secret_never_serves(
    secret_router: str, model_directory: Path, caplog: pytest.LogCaptureFixture
):
    settings = GatewaySettings(
        port=0, grpc_port=0, model=str(model_directory), router=(secret_router,), grace_ms=50
    )
    async with running(serve_gateway, settings) as gateway:
        await gateway.url()
        async with asyncio.timeout(WAIT_S):
            while "mesh's secret" not in caplog.text:
                await asyncio.sleep(0.02)
    assert secret_router in caplog.text


async def test_an_operator_without_a_certificate_is_not_let_in(router: str, authority: Authority):
    for security in (Security(secrets=(SECRET,)), Security(tls_ca=authority.certificate, secrets=(SECRET,))):
        async with OperatorClient(router, 2_000, security) as operator:
            with pytest.raises(RouterUnavailable):
                await operator.fleet()
