"""The gateway's gRPC port."""

import asyncio
import dataclasses
from functools import partial

from pdmesh.inference.v1 import inference_pb2_grpc
from services.common.clock import until_beat_s
from services.common.credentials import Security
from services.common.limits import Limits
from services.common.rpc import RpcServer
from services.gateway.grpc.doorkeeper import Doorkeeper
from services.gateway.grpc.message_size import check_message
from services.gateway.grpc.servicer import SERVICE, InferenceServicer
from services.gateway.models.served import Models

HEALTH_INTERVAL_S = 0.25


class InferenceServer:
    """Listens, and keeps health true: serving while a router is there and a model can be asked for."""

    def __init__(
        self,
        servicer: InferenceServicer,
        models: Models,
        limits: Limits,
        security: Security,
        doorkeeper: Doorkeeper,
        *,
        reuse_port: bool = False,
    ) -> None:
        sizes = dataclasses.replace(limits, frame_size_bytes_max=limits.body_size_bytes_max)
        self._rpc = RpcServer(
            [SERVICE],
            sizes,
            security,
            reuse_port=reuse_port,
            calls_max=limits.connections_max,
            check=doorkeeper.check,
            check_message=partial(check_message, limits=limits),
        )
        self._models = models
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(servicer, self._rpc.server)

    async def listen(self, host: str, port: int) -> int:
        """Bind and serve; returns the port. Raises `PortInUse`."""
        return await self._rpc.start(host, port)

    async def run(self) -> None:
        """Keep health true until cancelled."""
        was_ready = False
        while True:
            is_ready = self._models.is_attached and bool(self._models.served())
            if is_ready != was_ready:
                await self._rpc.set_serving(is_ready)
                was_ready = is_ready
            await asyncio.sleep(until_beat_s(HEALTH_INTERVAL_S))

    async def drain(self, grace_ms: float) -> None:
        """No new calls; let those in flight end within the grace time, then cut them."""
        await self._rpc.stop(grace_ms)
