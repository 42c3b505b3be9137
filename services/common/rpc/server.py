"""A gRPC server with health (a real Watch) and reflection."""

from collections.abc import Mapping, Sequence

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from pdmesh.lane.v1 import lane_pb2_grpc
from services.common.credentials import OPEN, Security
from services.common.domain.address import join_address
from services.common.errors import PortInUse
from services.common.limits import DEFAULTS, Limits
from services.common.rpc.decoding import CheckMessage, Decoding
from services.common.rpc.gatekeeper import Check, Gatekeeper, secret_check
from services.common.rpc.lane.method import Method
from services.common.rpc.lane.server import Handler, LaneServer, LaneServicer
from services.common.rpc.options import server_options
from services.common.rpc.tls import server_credentials


class RpcServer:
    """Listens on one port; `NOT_SERVING` until `set_serving`.

    Servicers are added to `server` before `start`. Past `calls_max` calls at once, gRPC itself refuses. Where
    the mesh has a secret, only health answers callers without it.
    """

    def __init__(
        self,
        service_names: Sequence[str],
        limits: Limits = DEFAULTS,
        security: Security = OPEN,
        *,
        reuse_port: bool = False,
        calls_max: int | None = None,
        check: Check | None = None,
        check_message: CheckMessage | None = None,
    ) -> None:
        """`check` decides about calls before they are read, and `check_message` before they are decoded."""
        options = server_options(limits, reuse_port=reuse_port)
        checks = [secret_check(security)] if security.secrets else []
        gatekeepers = [Gatekeeper(one) for one in ([*checks, check] if check is not None else checks)]
        self.server = grpc.aio.server(
            interceptors=[*gatekeepers, Decoding(check_message)],
            options=options,
            maximum_concurrent_rpcs=calls_max,
        )
        self._limits, self._security = limits, security
        self._lanes: tuple[LaneServer, int] | None = None
        self.port = 0
        self._names = ("", *service_names)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        named = (*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(named, self.server)

    def offer_lanes(self, handlers: Mapping[Method, Handler], port: int) -> None:
        """Serve these methods on lanes too, on a port of their own; 0 picks a free one."""
        lanes = LaneServer(handlers, self._limits, self._security)
        lane_pb2_grpc.add_LaneServiceServicer_to_server(LaneServicer(lanes), self.server)
        self._lanes = lanes, port

    async def start(self, host: str, port: int) -> int:
        """Bind and serve; returns the port (useful when 0 was asked). Raises PortInUse, and BadSetting for
        certificates that cannot be read."""
        if self._lanes is not None:
            lanes, lane_port = self._lanes
            await lanes.start(host, lane_port)
        try:
            self.port = self._bind(join_address(host, port))
        except RuntimeError as failure:
            raise PortInUse(f"cannot listen on {host}:{port}") from failure
        await self.set_serving(False)
        await self.server.start()
        return self.port

    def _bind(self, address: str) -> int:
        if not self._security.tls_cert:
            return int(self.server.add_insecure_port(address))
        return int(self.server.add_secure_port(address, server_credentials(self._security)))

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
        if self._lanes is not None:
            await self._lanes[0].stop()
