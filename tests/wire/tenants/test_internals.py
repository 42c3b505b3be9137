"""One setting says who may see what is inside the mesh, on every way by which it could leave."""

from pathlib import Path

import grpc.aio
import pytest

from pdmesh.inference.v1 import inference_pb2
from pdmesh.inference.v1.inference_pb2_grpc import InferenceServiceStub
from services.common.errors import RetriesExhausted
from tests.attack.conftest import Besiege, besieged
from tests.attack.siege import INNOCENT, Siege
from tests.wire.gateway.conftest import close_clients, model_directory, running_edge
from tests.wire.gateway.raw_http import get, post

__all__ = ["besieged", "close_clients", "model_directory"]

NAMES = (b"prefill-1", b"decode-1")
BODY = b'{"model":"tiny","prompt":"Hi","max_tokens":5,"pdmesh":{"receipt":true}%b}'
ASKING = "x-pdmesh-receipt: 1"


async def everything_said(siege: Siege, tenant: str) -> bytes:
    """All that a tenant is answered on the REST API, heads included."""
    said = b""
    for more in (b"", b',"stream":true'):
        response = await siege.post(tenant, "/v1/completions", BODY % more, ASKING)
        assert response.status == 200
        said += repr(response.headers).encode() + response.body
    return said


async def everything_called(siege: Siege, tenant: str) -> bytes:
    """All that a tenant is answered over gRPC, metadata included."""
    async with grpc.aio.insecure_channel(siege.edge.grpc) as channel:
        request = inference_pb2.CompleteRequest(model="tiny", prompt="Hi")
        call = InferenceServiceStub(channel).Complete(
            request, metadata=(("authorization", f"Bearer {siege.keys[tenant]}"),)
        )
        said = repr(await call.initial_metadata()).encode()
        async for message in call:
            said += message.SerializeToString()
        return said + repr(await call.trailing_metadata()).encode()


@pytest.mark.parametrize(
    ("audience", "seeing"),
    [("everybody", {"alice", "root"}), ("tenants", {"alice", "root"}), ("admins", {"root"})],
)
async def test_names_of_workers_leave_for_those_who_may_see_them(
    besieged: Besiege, audience: str, seeing: set[str]
) -> None:
    async with besieged(internals_for=audience) as siege:
        for tenant in ("alice", "root"):
            for said in (await everything_said(siege, tenant), await everything_called(siege, tenant)):
                assert all(name in said for name in NAMES) == (tenant in seeing)
                assert any(name in said for name in NAMES) == (tenant in seeing)


async def test_an_error_does_not_name_them_either(besieged: Besiege) -> None:
    async with besieged(internals_for="admins") as siege:
        siege.edge.router.script = lambda job: job.end(error=RetriesExhausted("decode-1 failed too often"))
        told = await siege.post("alice", "/v1/completions", INNOCENT)
        assert (told.status, b"decode-1" in told.body, b"retries_exhausted" in told.body) == (
            502,
            False,
            True,
        )
        assert b"decode-1" in (await siege.post("root", "/v1/completions", INNOCENT)).body


@pytest.mark.parametrize(
    ("audience", "statuses"),
    [("everybody", (200, 200, 200)), ("tenants", (401, 200, 200)), ("admins", (401, 403, 200))],
)
async def test_metrics_follow_it(besieged: Besiege, audience: str, statuses: tuple[int, ...]) -> None:
    async with besieged(internals_for=audience) as siege:
        stranger = await siege.ask(get("/metrics"))
        others = [await siege.get(tenant, "/metrics") for tenant in ("alice", "root")]
        assert tuple(response.status for response in (stranger, *others)) == statuses


@pytest.mark.parametrize(
    ("audience", "shown"),
    [
        ("everybody", (True, True, True)),
        ("tenants", (False, True, True)),
        ("admins", (False, False, True)),
    ],
)
async def test_ready_stays_open_and_tells_models_by_it(
    besieged: Besiege, audience: str, shown: tuple[bool, ...]
) -> None:
    async with besieged(internals_for=audience) as siege:
        answers = [await siege.ask(get("/ready"))]
        answers += [await siege.get(tenant, "/ready") for tenant in ("alice", "root")]
        assert [response.status for response in answers] == [200] * 3
        assert tuple(b"tiny" in response.body for response in answers) == shown


async def test_without_tenants_nobody_has_a_credential(model_directory: Path) -> None:
    async with running_edge(model_directory, internals_for="tenants", grace_ms=200) as edge:
        edge.router.script = edge.says("hello")
        client = await edge.client()
        client.send(post("/v1/completions", BODY % b"", ASKING))
        response = await client.response()
        assert response.status == 200
        assert b"decode-1" not in repr(response.headers).encode() + response.body
        client.send(get("/metrics"))
        assert (await client.response()).status == 403
        await client.close()
