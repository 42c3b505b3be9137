"""Who lacks the mesh's secret gets none of its requests and none of its words, without any setting."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest

from pdmesh.operator.v1 import operator_pb2, operator_pb2_grpc
from services.cli.operator.client import OperatorClient
from services.common.credentials import Security
from services.common.errors import Unauthenticated
from services.common.rpc import open_channel
from services.common.rpc.lane import ATTACH, CONNECT, Method, open_stream
from tests.mesh import model
from tests.mesh.harness import Mesh, run_cli

SIM = ("--engine", "sim")
ELSEWHERE = {"XDG_RUNTIME_DIR": "/nonexistent"}
"""The environment of another user."""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    directory = tmp_path_factory.mktemp("mesh")
    with Mesh(model.build(directory / "words"), directory, *SIM) as running:
        yield running


def router(mesh: Mesh) -> str:
    return str(mesh.facts["urls"]["router"])


def test_a_strangers_worker_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    built = model.build(tmp_path / "words")
    flags = ["--model", str(built), "--routers", router(mesh), *SIM, "--worker-id", "stranger"]
    ended = run_cli(["serve", "decode", *flags])
    assert ended.returncode == 2
    assert "secret" in ended.stderr
    shown = run_cli(["fleet", "--router", router(mesh)])
    assert shown.returncode == 0, shown.stderr
    assert "decode-1" in shown.stdout
    assert "stranger" not in shown.stdout


@pytest.mark.parametrize("secret", [(), ("a wrong secret of a stranger",)])
@pytest.mark.parametrize("method", [ATTACH, CONNECT])
async def test_neither_gateways_nor_workers_streams_are_a_strangers(
    mesh: Mesh, method: Method, secret: tuple[str, ...]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async with open_stream(router(mesh), method, security=Security(secrets=secret)) as call:
            await call.read()
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("process", ["router", "prefill-1", "decode-1"])
async def test_no_process_takes_a_strangers_orders(mesh: Mesh, process: str) -> None:
    async with open_channel(mesh.facts["urls"][process]) as channel:
        drain = operator_pb2_grpc.OperatorServiceStub(channel).Drain
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await drain(operator_pb2.DrainRequest(worker_id="decode-1"), timeout=20)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_an_operator_elsewhere_is_refused_and_one_with_the_secret_is_not(mesh: Mesh) -> None:
    with pytest.raises(Unauthenticated):
        async with OperatorClient(router(mesh), 5_000) as client:
            await client.fleet()
    async with OperatorClient(router(mesh), 5_000, mesh.security) as client:
        assert await client.is_serving()
        assert await client.fleet()
    refused = run_cli(["fleet", "--router", router(mesh)], env={**os.environ, **ELSEWHERE})
    assert refused.returncode == 1
    assert "secret" in refused.stderr


def test_the_secret_is_for_its_user_alone(mesh: Mesh) -> None:
    file = Path(mesh.facts["secret_file"])
    secret = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    for pid in (mesh.process.pid, *mesh.pids.values()):
        assert secret.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert secret not in mesh.logs(lines=10_000)


def test_meshes_have_secrets_of_their_own_which_end_with_them(mesh: Mesh, tmp_path: Path) -> None:
    with Mesh(model.build(tmp_path / "words"), tmp_path, *SIM) as other:
        file = Path(other.facts["secret_file"])
        assert file.read_text() != Path(mesh.facts["secret_file"]).read_text()
        assert other.stop() == 0
    assert not file.exists()
