"""The servicer for KEDA: the router's own decisions as a metric whose target is one per replica."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc.aio

from pdmesh.keda import externalscaler_pb2 as wire
from pdmesh.keda import externalscaler_pb2_grpc
from services.common.clock import Clock
from services.common.errors import InvalidField, MeshError, TooManyConnections
from services.common.limits import Limits
from services.common.rpc import abort_with
from services.router.core.scaling.scaling import Scaling, Watched
from services.router.keda_trigger import Trigger, parse

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
POLL_S = 0.25
"""How late a stream tells of a change, at most."""


class KedaServicer(externalscaler_pb2_grpc.ExternalScalerServicer):
    """`externalscaler.ExternalScaler`. Bad metadata is INVALID_ARGUMENT.

    A replica is asked of the HorizontalPodAutoscaler for each one of the metric, so that it arrives at the
    router's number: desired + spares.
    """

    def __init__(self, scaling: Scaling, clock: Clock, limits: Limits) -> None:
        self._scaling, self._clock, self._limits = scaling, clock, limits
        self._streams = 0

    async def IsActive(  # noqa: N802 - the names are the protocol's
        self, request: wire.ScaledObjectRef, context: Context
    ) -> wire.IsActiveResponse:
        """Whether there should be any worker."""
        return wire.IsActiveResponse(result=self._replicas(await self._trigger(request, context)) > 0)

    async def StreamIsActive(  # noqa: N802
        self, request: wire.ScaledObjectRef, context: Context
    ) -> AsyncIterator[wire.IsActiveResponse]:
        """The same at once, and whenever it changes."""
        trigger = await self._trigger(request, context)
        if self._streams >= self._limits.scaling_watches_max:
            await abort_with(context, TooManyConnections(retry_after_ms=1_000))
        self._streams += 1
        told: bool | None = None
        try:
            while True:
                is_active = self._replicas(trigger) > 0
                if is_active is not told:
                    told = is_active
                    yield wire.IsActiveResponse(result=is_active)
                await asyncio.sleep(POLL_S)
        finally:
            self._streams -= 1

    async def GetMetricSpec(  # noqa: N802
        self, request: wire.ScaledObjectRef, context: Context
    ) -> wire.GetMetricSpecResponse:
        """One metric, one replica each."""
        trigger = await self._trigger(request, context)
        spec = wire.MetricSpec(metricName=trigger.metric, targetSize=1, targetSizeFloat=1.0)
        return wire.GetMetricSpecResponse(metricSpecs=[spec])

    async def GetMetrics(  # noqa: N802
        self, request: wire.GetMetricsRequest, context: Context
    ) -> wire.GetMetricsResponse:
        """How many replicas there should be."""
        trigger = await self._trigger(request.scaledObjectRef, context)
        if request.metricName != trigger.metric:
            words = f"the only metric is '{trigger.metric}'"
            await abort_with(context, InvalidField(words, field="metricName"))
        replicas = self._replicas(trigger)
        value = wire.MetricValue(
            metricName=trigger.metric, metricValue=replicas, metricValueFloat=float(replicas)
        )
        return wire.GetMetricsResponse(metricValues=[value])

    async def _trigger(self, request: wire.ScaledObjectRef, context: Context) -> Trigger:
        try:
            return parse(request.scalerMetadata, self._scaling.rules_of)
        except MeshError as error:
            await abort_with(context, error)

    def _replicas(self, trigger: Trigger) -> int:
        watched = self._watched(trigger)
        if watched.decision is None:  # no worker of the pool has ever come, and without one nobody can ask
            return max(1, trigger.rules.replicas_min) + trigger.rules.spares
        return watched.decision.replicas

    def _watched(self, trigger: Trigger) -> Watched:
        own = self._scaling.tiers.get((trigger.model, trigger.tier))
        if own is not None and own.scaler.rules == trigger.rules:
            return own
        return self._scaling.advice(trigger.model, trigger.tier, trigger.rules, self._clock.now_ms())
