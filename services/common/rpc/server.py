"""A gRPC server with health (a real Watch) and reflection."""

from collections.abc import Sequence

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.common.errors import PortInUse
from services.common.limits import DEFAULTS, Limits
from services.common.rpc.options import transport_options


class RpcServer:
    """Listens on one port; `NOT_SERVING` until `set_serving`.

    Servicers are added to `server` before `start`.
    """

    def __init__(self, service_names: Sequence[str], limits: Limits = DEFAULTS) -> None:
        # Without so_reuseport=0 two processes would share a port silently.
        self.server = grpc.aio.server(options=[*transport_options(limits), ("grpc.so_reuseport", 0)])
        self.port = 0
        self._names = ("", *service_names)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        named = (*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(named, self.server)

    async def start(self, host: str, port: int) -> int:
        """Bind and serve; returns the port (useful when 0 was asked). Raises PortInUse."""
        try:
            self.port = self.server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as failure:
            raise PortInUse(f"cannot listen on {host}:{port}") from failure
        await self.set_serving(False)
        await self.server.start()
        return self.port

    async def set_serving(self, serving: bool) -> None:
        """Tell every watcher."""
        known = health_pb2.HealthCheckResponse
        status = known.SERVING if serving else known.NOT_SERVING
        for name in self._names:
            await self._health.set(name, status)

    async def stop(self, grace_ms: float) -> None:
        """Say not serving for good, let calls end within the grace time, then cut them."""
        await self._health.enter_graceful_shutdown()
        await self.server.stop(grace_ms / 1000.0)
