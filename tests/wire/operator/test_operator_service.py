"""Every RPC of OperatorService over real gRPC, and what refusals look like on the wire."""

import asyncio
from dataclasses import replace

import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from pdmesh.operator.v1 import operator_pb2 as wire
from pdmesh.types.v1 import types_pb2
from services.cli.operator.client import OperatorClient
from services.common.domain.tokens import to_bytes, tokens
from services.common.errors import OperationRefused, RouterUnavailable, WorkerNotFound
from services.common.rpc import RpcServer
from services.router.settings import Settings
from tests.wire.operator.conftest import FLIPS_PER_HOUR, Operated
from tests.wire.worker.fake_router import WAIT_S

PREFILL, DECODE, BOTH = types_pb2.ROLE_PREFILL, types_pb2.ROLE_DECODE, types_pb2.ROLE_BOTH


@pytest.fixture
async def pair(mesh: Operated) -> Operated:
    """One prefill worker p and one decode worker d."""
    await mesh.start("p", tier="prefill")
    await mesh.start("d")
    return mesh


async def refusal(call: "grpc.aio.UnaryUnaryCall") -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


def details(failure: grpc.aio.AioRpcError) -> tuple[str, dict[str, str], int]:
    """Reason, metadata and the wait in ms (0: none) of a refusal."""
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in rpc_status.from_call(failure).details:
        assert detail.Unpack(info) or detail.Unpack(retry)
    assert info.domain == "pdmesh"
    return info.reason, dict(info.metadata), retry.retry_delay.ToMilliseconds()


async def test_the_fleet_is_described(pair: Operated) -> None:
    fleet = await pair.stub.DescribeFleet(wire.DescribeFleetRequest())
    workers = {worker.worker_id: worker for worker in fleet.workers}
    assert {name: worker.role for name, worker in workers.items()} == {"p": PREFILL, "d": DECODE}
    assert {worker.state for worker in fleet.workers} == {"serving"}
    assert workers["d"].kv_blocks_total == 256
    assert workers["d"].address == (await pair.workers[1].is_ready())["url"]
    assert {tier.role for tier in fleet.tiers} == {PREFILL, DECODE}
    assert (fleet.open_requests, fleet.open_handoffs, fleet.expired_handoffs) == (0, 0, 0)
    assert fleet.stranded_block_seconds == 0.0


async def test_pairs_are_described_in_the_directions_that_roles_allow(pair: Operated) -> None:
    await pair.start("b", role="both")
    answer = await pair.stub.DescribePairs(wire.DescribePairsRequest())
    pairs = {(one.prefill_worker, one.decode_worker): one for one in answer.pairs}
    assert set(pairs) == {("p", "d"), ("p", "b"), ("b", "d")}
    one = pairs["p", "d"]
    assert (one.connector, list(one.differences), one.handoffs) == ("sim-tcp", [], 0)
    assert (one.breaker, one.canary, one.canary_age_s) == ("closed", "unknown", -1.0)


async def test_drain_and_undrain(pair: Operated) -> None:
    await pair.stub.Drain(wire.DrainRequest(worker_id="d"))
    assert await pair.states() == {"p": "serving", "d": "draining"}
    await pair.stub.Undrain(wire.UndrainRequest(worker_id="d"))
    assert await pair.states() == {"p": "serving", "d": "serving"}


async def test_standby_and_activate(mesh: Operated) -> None:
    await mesh.start("spare", standby=True)
    assert await mesh.states() == {"spare": "standby"}
    await mesh.stub.Activate(wire.ActivateRequest(worker_id="spare"))
    assert await mesh.states() == {"spare": "serving"}
    await mesh.stub.StandBy(wire.StandByRequest(worker_id="spare"))
    assert await mesh.states() == {"spare": "standby"}


async def test_an_idle_worker_takes_its_new_role_at_once(pair: Operated) -> None:
    await pair.stub.SetRole(wire.SetRoleRequest(worker_id="p", role=BOTH))
    fleet = await pair.stub.DescribeFleet(wire.DescribeFleetRequest())
    assert {worker.worker_id: worker.role for worker in fleet.workers} == {"p": BOTH, "d": DECODE}


async def test_a_dry_run_follows_the_threshold(pair: Operated) -> None:
    model = (await pair.stub.DescribeFleet(wire.DescribeFleetRequest())).tiers[0].model
    asked = wire.DryRunRequest(model=model, prompt_token_ids=to_bytes(tokens(range(100))), max_tokens=5)
    far = await pair.stub.DryRun(asked)
    assert (far.path, far.path_reason) == (types_pb2.PATH_DISAGGREGATED, "long_prompt")
    assert (far.prefill_worker, far.decode_worker, far.waits_for) == ("p", "d", "")
    await pair.stub.SetLocalThreshold(wire.SetLocalThresholdRequest(local_prompt_tokens_max=100))
    near = await pair.stub.DryRun(asked)
    assert (near.path, near.path_reason) == (types_pb2.PATH_LOCAL, "short_prompt")
    assert (near.prefill_worker, near.decode_worker) == ("", "d")
    assert (await pair.stub.DryRun(wire.DryRunRequest(model="no"))).refusal_reason == "model_not_found"


async def test_a_dry_run_of_half_a_token_is_invalid(pair: Operated) -> None:
    failure = await refusal(pair.stub.DryRun(wire.DryRunRequest(model="sim", prompt_token_ids=b"abc")))
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(failure) == ("invalid_field", {"field": "prompt_token_ids"}, 0)


async def test_a_process_that_dies_again_and_again_is_a_finding_until_it_attaches(pair: Operated) -> None:
    for name in ("d", "decode-9"):
        await pair.stub.NoteGivenUp(wire.NoteGivenUpRequest(process=name, why="died 6 times in 60 s"))
    fleet = await pair.stub.DescribeFleet(wire.DescribeFleetRequest())
    (told,) = [finding for finding in fleet.findings if finding.kind == "process_given_up"]
    assert told.text == "decode-9 cannot be kept running: it died 6 times in 60 s"


async def test_forgiving_what_is_fine_counts_nothing(pair: Operated) -> None:
    assert await pair.stub.Forgive(wire.ForgiveRequest()) == wire.ForgiveResponse()


@pytest.mark.parametrize(
    ("method", "request_class"),
    [
        ("Drain", wire.DrainRequest),
        ("Undrain", wire.UndrainRequest),
        ("StandBy", wire.StandByRequest),
        ("Activate", wire.ActivateRequest),
    ],
)
async def test_an_unknown_worker_is_not_found(mesh: Operated, method: str, request_class: type) -> None:
    failure = await refusal(getattr(mesh.stub, method)(request_class(worker_id="nobody")))
    assert failure.code() is grpc.StatusCode.NOT_FOUND
    assert details(failure) == ("worker_not_found", {"field": "worker_id"}, 0)
    assert failure.details() == "no worker named 'nobody' is attached"


@pytest.mark.parametrize("role", [types_pb2.ROLE_UNSPECIFIED, 9])
async def test_a_role_that_does_not_exist_is_invalid(pair: Operated, role: int) -> None:
    failure = await refusal(pair.stub.SetRole(wire.SetRoleRequest(worker_id="d", role=role)))
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(failure) == ("invalid_field", {"field": "role"}, 0)
    assert await pair.states() == {"p": "serving", "d": "serving"}


async def test_an_engine_of_one_role_keeps_it(mesh: Operated) -> None:
    await mesh.start("d", "role-is-fixed=true")
    failure = await refusal(mesh.stub.SetRole(wire.SetRoleRequest(worker_id="d", role=PREFILL)))
    assert failure.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert details(failure) == ("operation_refused", {}, 0)
    assert failure.details() == "d was started for one role only"


async def test_too_many_flips_are_refused_with_the_time_to_wait(pair: Operated) -> None:
    for role in (BOTH, PREFILL)[:FLIPS_PER_HOUR]:
        await pair.stub.SetRole(wire.SetRoleRequest(worker_id="p", role=role))
    failure = await refusal(pair.stub.SetRole(wire.SetRoleRequest(worker_id="p", role=DECODE)))
    reason, _, wait_ms = details(failure)
    assert (failure.code(), reason) == (grpc.StatusCode.FAILED_PRECONDITION, "operation_refused")
    assert 0 < wait_ms <= 3_600_000


async def test_the_commands_client_raises_the_routers_own_errors(pair: Operated) -> None:
    async with OperatorClient(pair.address, 5_000) as client:
        assert await client.is_serving()
        await client.order(wire.DrainRequest(worker_id="d"))
        assert (await pair.states())["d"] == "draining"
        with pytest.raises(WorkerNotFound, match="nobody"):
            await client.order(wire.DrainRequest(worker_id="nobody"))
        for role in (BOTH, PREFILL)[:FLIPS_PER_HOUR]:
            await client.order(wire.SetRoleRequest(worker_id="p", role=role))
        with pytest.raises(OperationRefused) as refused:
            await client.order(wire.SetRoleRequest(worker_id="p", role=BOTH))
        assert refused.value.retry_after_ms


async def test_something_else_at_the_address_is_no_router() -> None:
    server = RpcServer(())
    port = await server.start("127.0.0.1", 0)
    async with OperatorClient(f"127.0.0.1:{port}", 5_000) as client:
        with pytest.raises(RouterUnavailable, match=rf"answers at 127.0.0.1:{port} \(unimplemented\)$"):
            await client.fleet()
    await server.stop(grace_ms=0)


class TestDwell:
    """A router that lets roles change rarely."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return replace(settings, role_dwell_ms_min=60_000)

    async def test_a_young_role_is_kept(self, pair: Operated) -> None:
        failure = await refusal(pair.stub.SetRole(wire.SetRoleRequest(worker_id="p", role=BOTH)))
        reason, _, wait_ms = details(failure)
        assert reason == "operation_refused"
        assert 0 < wait_ms <= 60_000


class TestCanaries:
    """A router that compares its pairs all the time."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return replace(settings, canary_interval_ms=1)

    async def test_a_pair_that_hands_over_wrong_kv_is_held_until_forgiven(self, mesh: Operated) -> None:
        await mesh.start("p", tier="prefill")
        await mesh.start("good")
        await mesh.start("bad", "corrupt-adopted=true")
        async with asyncio.timeout(WAIT_S):
            while (await canaries(mesh)) != {"good": ("equal", "closed"), "bad": ("differed", "open")}:
                await asyncio.sleep(0.01)
        await mesh.stub.Drain(wire.DrainRequest(worker_id="bad"))
        assert await mesh.stub.Forgive(wire.ForgiveRequest()) == wire.ForgiveResponse(pairs=1)
        assert (await canaries(mesh))["bad"] == ("differed", "closed")


async def canaries(mesh: Operated) -> dict[str, tuple[str, str]]:
    """Canary and breaker of each decode worker's pair."""
    pairs = (await mesh.stub.DescribePairs(wire.DescribePairsRequest())).pairs
    return {pair.decode_worker: (pair.canary, pair.breaker) for pair in pairs}
