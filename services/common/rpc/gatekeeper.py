"""Refuses callers that do not show the mesh's secret."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from services.common.credentials import METADATA_KEY, Security
from services.common.errors import Unauthenticated
from services.common.rpc.status import abort_with

OPEN_SERVICES = ("/grpc.health.v1.Health/", "/externalscaler.ExternalScaler/")
"""Probes of orchestrators and load balancers cannot show a secret, and learn only whether we serve; nor can
KEDA, which learns only how many workers there should be. Certificates are asked of all."""
PAUSE_S = 0.1
"""A client whose first message is on its way when its call ends is told INTERNAL by its own gRPC library, and
not why: it gets this long to be done with it."""


class Gatekeeper(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Lets in who shows the secret; the others get UNAUTHENTICATED, and nothing of theirs is read."""

    def __init__(self, security: Security) -> None:
        self._security = security

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """See `grpc.aio.ServerInterceptor`."""
        if handler_call_details.method.startswith(OPEN_SERVICES):
            return await continuation(handler_call_details)
        metadata = dict(handler_call_details.invocation_metadata or ())
        if self._security.accepts(str(metadata.get(METADATA_KEY, ""))):
            return await continuation(handler_call_details)
        return grpc.stream_stream_rpc_method_handler(_refuse)


async def _refuse(_requests: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
    await asyncio.sleep(PAUSE_S)
    await abort_with(context, Unauthenticated("this port is for callers with the mesh's secret"))
