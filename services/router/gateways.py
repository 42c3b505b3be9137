"""The servicer for gateways: translates frames into events, nothing more."""

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from pdmesh.router.v1 import router_pb2, router_pb2_grpc
from services.common.domain.tokens import from_bytes
from services.common.errors import MeshError, ProtocolViolation, TooManyConnections
from services.common.limits import Limits
from services.common.rpc import LinkLost, abort_with
from services.common.rpc.convert import request_from_wire
from services.router.core.events import CancelRequested, GatewayAttached, GatewayDetached, Submitted
from services.router.shell import GatewayPeer, Shell, log


class GatewayServicer(router_pb2_grpc.RouterServiceServicer):
    """`pdmesh.router.v1.RouterService`."""

    def __init__(self, shell: Shell, router_id: str, version: str, limits: Limits) -> None:
        self._shell, self._limits = shell, limits
        self._router_id, self._version = router_id, version

    async def Connect(  # noqa: N802 - the name is the protocol's
        self, _requests: AsyncIterator[router_pb2.ConnectRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Carry one gateway's requests until its stream ends."""
        if len(self._shell.gateways) >= self._limits.gateways_max:
            await abort_with(context, TooManyConnections(retry_after_ms=1_000))
        session, peer = self._shell.new_session(), GatewayPeer(context)
        self._shell.gateways[session] = peer
        greeting = router_pb2.RouterGreeting(router_id=self._router_id, version=self._version)
        peer.draft.greet(greeting)
        if self._shell.is_leaving:
            peer.draft.leave()
        self._shell.feed(GatewayAttached(session))
        try:
            await peer.link.run(lambda frame: self._on_frame(session, frame))
        except LinkLost as lost:
            log.info("gateway %d left: %s", session, lost)
        except MeshError as error:
            log.warning("gateway %d refused: %s", session, error)
            await abort_with(context, error)
        finally:
            del self._shell.gateways[session]
            self._shell.feed(GatewayDetached(session))

    def _on_frame(self, session: int, frame: router_pb2.ConnectRequest) -> None:
        for submission in frame.submissions:
            self._shell.feed(Submitted(session, submission.stream, request_from_wire(submission)))
        for stream in _streams(frame.cancelled_streams):
            self._shell.feed(CancelRequested(session, stream))


def _streams(column: bytes) -> list[int]:
    try:
        return list(from_bytes(column))
    except ValueError as failure:
        raise ProtocolViolation(f"cancelled streams: {failure}") from failure
