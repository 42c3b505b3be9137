"""KEDA's external scaler, asked by a real gRPC client in KEDA's order."""

import asyncio
from dataclasses import replace

import grpc
import pytest

from pdmesh.keda import externalscaler_pb2 as wire
from pdmesh.keda.externalscaler_pb2_grpc import ExternalScalerStub
from pdmesh.operator.v1 import operator_pb2
from services.common.rpc import open_channel
from services.common.scaling import TierScaling
from services.router.settings import Settings
from tests.wire.operator.conftest import Operated
from tests.wire.worker.fake_router import WAIT_S


def scaled_object(**metadata: str) -> wire.ScaledObjectRef:
    """What KEDA sends: the trigger's metadata, its own keys among them."""
    metadata = {"scalerAddress": "router:9000", "model": "sim", "tier": "decode"} | metadata
    return wire.ScaledObjectRef(name="decode", namespace="default", scalerMetadata=metadata)


@pytest.fixture
async def keda(mesh: Operated):
    channel = open_channel(mesh.address)
    yield ExternalScalerStub(channel)
    await channel.close()


@pytest.fixture
async def model(mesh: Operated) -> str:
    """The name of a pool with one worker of each tier."""
    await mesh.start("p", tier="prefill")
    await mesh.start("d")
    return (await mesh.stub.DescribeFleet(operator_pb2.DescribeFleetRequest())).tiers[0].model


async def poll(stub: ExternalScalerStub, reference: wire.ScaledObjectRef) -> tuple[int, bool]:
    """One polling interval of KEDA's: the spec's metrics, then activity; replicas as the HPA counts."""
    (spec,) = (await stub.GetMetricSpec(reference)).metricSpecs
    asked = wire.GetMetricsRequest(scaledObjectRef=reference, metricName=spec.metricName)
    (value,) = (await stub.GetMetrics(asked)).metricValues
    assert value.metricName == spec.metricName
    assert value.metricValue == value.metricValueFloat
    return round(value.metricValueFloat / spec.targetSizeFloat), (await stub.IsActive(reference)).result


async def test_a_poll_gives_the_routers_number(keda, model):
    assert await poll(keda, scaled_object(model=model)) == (1, True)
    assert await poll(keda, scaled_object(model=model, tier="prefill")) == (1, True)


async def test_the_triggers_own_rules_count(keda, model):
    assert await poll(keda, scaled_object(model=model, minReplicas="3", spares="2")) == (5, True)
    assert await poll(keda, scaled_object(model=model, floors="4@* * * * *; 2@* * * * *")) == (4, True)
    assert await poll(keda, scaled_object(model=model, floors="40@* * * * *")) == (8, True)


async def test_a_pool_without_any_worker_yet_wants_its_first(keda):
    assert await poll(keda, scaled_object(model="new")) == (1, True)
    assert await poll(keda, scaled_object(model="new", minReplicas="2")) == (2, True)


async def test_a_pool_may_rest_at_zero(keda, mesh, model):
    """Where nothing is asked for, the cooldown is all that keeps a worker."""
    idle = scaled_object(model=model, minReplicas="0", downCooldownMs="0", downIntervalMs="0")
    async with asyncio.timeout(WAIT_S):
        while await poll(keda, idle) != (0, False):
            await asyncio.sleep(0.01)


async def test_a_stream_tells_at_once_and_again_at_a_change(keda, model):
    """With a cooldown the pool is active at first, and is told to rest when that is over."""
    reference = scaled_object(model=model, minReplicas="0", downCooldownMs="300", downIntervalMs="0")
    told = []
    async with asyncio.timeout(WAIT_S):
        call = keda.StreamIsActive(reference)
        async for answer in call:
            told.append(answer.result)
            if len(told) == 2:
                break
        call.cancel()
    assert told == [True, False]


@pytest.mark.parametrize(
    ("metadata", "field", "said"),
    [
        ({"tier": ""}, "tier", "prefill or decode"),
        ({"tier": "both"}, "tier", "prefill or decode"),
        ({"model": ""}, "model", "the name of the pool"),
        ({"targetWaitMS": "5"}, "targetWaitMS", "the nearest is 'targetWaitMs'"),
        ({"targetWaitMs": "soon"}, "targetWaitMs", "soon"),
        ({"targetWaitMs": "0"}, "scalerMetadata", "above 0"),
        ({"targetWaitMs": "nan"}, "scalerMetadata", "finite"),
        ({"maxReplicas": "-1"}, "scalerMetadata", "no range"),
        ({"floors": "4@noon"}, "floors", "five fields"),
    ],
)
async def test_bad_metadata_is_an_invalid_argument(keda, metadata, field, said):
    reference = scaled_object(**metadata)
    calls = [
        keda.IsActive(reference),
        keda.GetMetricSpec(reference),
        keda.GetMetrics(wire.GetMetricsRequest(scaledObjectRef=reference, metricName="decode-replicas")),
        keda.StreamIsActive(reference).read(),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert said in refused.value.details()


async def test_another_metric_is_an_invalid_argument(keda, model):
    asked = wire.GetMetricsRequest(scaledObjectRef=scaled_object(model=model), metricName="queue")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await keda.GetMetrics(asked)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


class TestSettings:
    """A router whose own rules differ from the defaults."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return replace(settings, decode_scaling=TierScaling(replicas_min=2, spares=1))

    async def test_what_a_trigger_does_not_say_is_as_the_routers_settings_say(self, keda, model):
        assert await poll(keda, scaled_object(model=model)) == (3, True)
        assert await poll(keda, scaled_object(model=model, spares="0")) == (2, True)
