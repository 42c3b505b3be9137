"""Refuses callers before anything of theirs is read: those that do not show the mesh's secret, and others."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from services.common.credentials import METADATA_KEY, Security
from services.common.errors import MeshError, Unauthenticated
from services.common.rpc.status import abort_with

OPEN_SERVICES = ("/grpc.health.v1.Health/", "/externalscaler.ExternalScaler/")
"""Probes of orchestrators and load balancers cannot show a secret, and learn only whether we serve; nor can
KEDA, which learns only how many workers there should be. Certificates are asked of all."""
PAUSE_S = 0.1
"""A client whose first message is on its way when its call ends is told INTERNAL by its own gRPC library, and
not why: it gets this long to be done with it."""


Check = Callable[[str, Mapping[str, str]], None]
"""Raises a `MeshError` for a call that may not be, by its method and metadata."""


def secret_check(security: Security) -> Check:
    """Lets in who shows the mesh's secret."""

    def check(method: str, metadata: Mapping[str, str]) -> None:
        if not method.startswith(OPEN_SERVICES) and not security.accepts(metadata.get(METADATA_KEY, "")):
            raise Unauthenticated("this port is for callers with the mesh's secret")

    return check


class Gatekeeper(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Lets in who passes a check; the others get its error, and nothing of theirs is read."""

    def __init__(self, check: Check) -> None:
        self._check = check

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """See `grpc.aio.ServerInterceptor`."""
        given = handler_call_details.invocation_metadata or ()
        metadata = {key: value for key, value in given if isinstance(value, str)}
        try:
            self._check(handler_call_details.method, metadata)
        except MeshError as error:
            return grpc.stream_stream_rpc_method_handler(_refusal(error))
        return await continuation(handler_call_details)


def _refusal(error: MeshError) -> Callable[[Any, Any], Awaitable[None]]:
    async def refuse(_requests: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        await asyncio.sleep(PAUSE_S)
        await abort_with(context, error)

    return refuse
