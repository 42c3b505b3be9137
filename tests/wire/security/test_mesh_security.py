"""The mesh's own ports: TLS, client certificates, renewal and the shared secret, over real gRPC."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.common.credentials import MeshSettings, Security
from services.common.errors import BadSetting, Unauthenticated
from services.common.limits import DEFAULTS
from services.common.rpc import RpcServer, error_from_rpc, open_channel
from services.common.rpc.health import is_serving
from tests.certificates import Authority

SECRET, OLDER = "s" * 20, "o" * 20
TIMEOUT_S = 5.0


@asynccontextmanager
async def serving(security: Security) -> AsyncIterator[str]:
    server = RpcServer((), security=security)
    port = await server.start("127.0.0.1", 0)
    await server.set_serving(True)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def probe(address: str, security: Security) -> bool:
    async with open_channel(address, DEFAULTS, security) as channel:
        return await is_serving(channel, TIMEOUT_S)


async def refusal(address: str, *metadata: tuple[str, str]) -> grpc.aio.AioRpcError:
    """How reflection ends for a caller that says nothing; sending to a call that has ended fails first."""
    async with open_channel(address) as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
    return refused.value


async def reflect(address: str, *metadata: tuple[str, str]) -> int:
    """How many services reflection names."""
    async with open_channel(address) as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]),
            metadata=metadata,
            timeout=TIMEOUT_S,
        )
        answers = [answer async for answer in call]
        return len(answers[0].list_services_response.service)


@pytest.fixture
def member(authority: Authority) -> Security:
    """A process of a mesh with mutual TLS."""
    pair = authority.issue("member")
    return MeshSettings(
        tls_cert=pair.cert, tls_key=pair.key, tls_ca=authority.certificate, mtls=True
    ).security()


async def test_members_of_a_mesh_with_mutual_tls_reach_each_other(member: Security) -> None:
    async with serving(member) as address:
        assert await probe(address, member)


@pytest.mark.parametrize(
    "caller",
    ["plain text", "no certificate", "another authority's certificate"],
)
async def test_a_stranger_is_refused_by_mutual_tls(caller: str, member: Security, tmp_path: Path) -> None:
    strange = Authority(tmp_path, "strange").issue("stranger")
    securities = {
        "plain text": Security(),
        "no certificate": Security(tls_ca=member.tls_ca),
        "another authority's certificate": Security(strange.cert, strange.key, member.tls_ca),
    }
    async with serving(member) as address:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await probe(address, securities[caller])
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await probe(address, member)


async def test_without_mutual_tls_the_server_alone_shows_a_certificate(member: Security) -> None:
    async with serving(dataclasses.replace(member, demands_certs=False)) as address:
        assert await probe(address, Security(tls_ca=member.tls_ca))


async def test_a_server_that_another_authority_vouches_for_is_not_trusted(
    member: Security, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    async with serving(dataclasses.replace(member, demands_certs=False)) as address:
        with pytest.raises(grpc.aio.AioRpcError):
            await probe(address, Security(tls_ca=other.certificate))


async def test_a_certificate_must_bear_the_name_that_is_expected(authority: Authority) -> None:
    elsewhere = authority.issue("elsewhere", "127.0.0.9")
    async with serving(Security(elsewhere.cert, elsewhere.key)) as address:
        with pytest.raises(grpc.aio.AioRpcError):
            await probe(address, Security(tls_ca=authority.certificate))
        assert await probe(address, Security(tls_ca=authority.certificate, tls_name="localhost"))


async def test_a_renewed_certificate_holds_without_a_restart(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    pair = old.issue("server")
    async with serving(Security(pair.cert, pair.key)) as address:
        assert await probe(address, Security(tls_ca=old.certificate))
        new.issue("server")
        assert await probe(address, Security(tls_ca=new.certificate))


async def test_a_broken_renewal_keeps_the_old_certificate(authority: Authority) -> None:
    pair = authority.issue("server")
    async with serving(Security(pair.cert, pair.key)) as address:
        Path(pair.cert).write_text("nonsense")  # noqa: ASYNC240
        assert await probe(address, Security(tls_ca=authority.certificate))


async def test_only_health_answers_without_the_secret() -> None:
    async with serving(Security(secrets=(SECRET, OLDER))) as address:
        assert await probe(address, Security())
        for metadata in ([], [("x-pdmesh-mesh", "wrong")], [("x-pdmesh-mesh", "")]):
            refused = await refusal(address, *metadata)
            assert refused.code() is grpc.StatusCode.UNAUTHENTICATED
            assert isinstance(error_from_rpc(refused), Unauthenticated)
        for secret in (SECRET, OLDER):
            assert await reflect(address, *Security(secrets=(secret,)).metadata) >= 2


def test_secrets_come_from_a_file_the_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n{OLDER}\n")
    security = MeshSettings(secret_file=str(path)).security()
    assert security.metadata == (("x-pdmesh-mesh", SECRET),)
    assert security.accepts(SECRET)
    assert security.accepts(OLDER)
    assert not security.accepts(SECRET + "x")
    assert not security.accepts("")


@pytest.mark.parametrize("content", [None, "", "short", "ä" * 20])
def test_a_secret_that_is_none_is_refused(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadSetting) as refused:
        MeshSettings(secret_file=str(path)).security()
    assert content != "short" or "short" not in refused.value.message


@pytest.mark.parametrize(
    "settings",
    [
        {"tls_cert": "c"},
        {"tls_key": "k"},
        {"mtls": True},
        {"mtls": True, "tls_ca": "a"},
        {"secret": SECRET, "secret_file": "f"},
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="--mesh-"):
        MeshSettings(**settings)  # type: ignore[arg-type]


def test_a_missing_or_broken_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    for path, why in (("ca.pem", "no PEM"), ("gone.pem", "No such file")):
        with pytest.raises(BadSetting, match=f"--mesh-tls-ca: .*{path}.*{why}"):
            MeshSettings(tls_ca=str(tmp_path / path)).security()
