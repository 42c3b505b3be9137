"""The servicer for workers: translates frames into events, nothing more."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc.aio

from pdmesh.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from services.common.errors import MeshError, ProtocolViolation
from services.common.limits import Limits
from services.common.rpc import LinkLost, abort_with
from services.common.rpc.convert import grant_from_wire, load_from_wire, registration_from_wire
from services.common.rpc.steps import step_from_wire
from services.common.rpc.token_frame import TokenFrame
from services.router.core.events import (
    WorkerAttached,
    WorkerDetached,
    WorkerDraining,
    WorkerGrant,
    WorkerLoad,
    WorkerStep,
)
from services.router.shell import Shell, WorkerPeer, log


class WorkerServicer(fleet_pb2_grpc.FleetServiceServicer):
    """`pdmesh.fleet.v1.FleetService`."""

    def __init__(self, shell: Shell, router_id: str, limits: Limits) -> None:
        self._shell, self._router_id, self._limits = shell, router_id, limits

    async def Attach(  # noqa: N802 - the name is the protocol's
        self, _requests: AsyncIterator[fleet_pb2.AttachRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Carry one worker's jobs until its stream ends."""
        session, peer = self._shell.new_session(), WorkerPeer(context)
        self._shell.workers[session] = peer
        try:
            await peer.link.run(
                partial(self._on_frame, session, peer),
                partial(self._on_tokens, session, peer),
            )
        except LinkLost as lost:
            log.info("worker session %d left: %s", session, lost)
        except MeshError as error:
            peer.refusal = error
        finally:
            del self._shell.workers[session]
            newest_job = peer.draft.newest_job(peer.link.acknowledged)
            self._shell.feed(WorkerDetached(session, newest_job, has_died=peer.link.is_broken))
        if peer.refusal is not None:
            log.warning("worker session %d refused: %s", session, peer.refusal)
            await abort_with(context, peer.refusal)

    def _on_frame(self, session: int, peer: WorkerPeer, frame: fleet_pb2.AttachRequest) -> None:
        if frame.sequence == 1:
            self._register(session, peer, frame)
        elif frame.HasField("registration"):
            raise ProtocolViolation("a worker registers once, with its first frame")
        if frame.HasField("load"):
            self._shell.feed(WorkerLoad(session, load_from_wire(frame.load)))
        if frame.HasField("grant"):
            self._shell.feed(WorkerGrant(session, grant_from_wire(frame.grant)))
        step = step_from_wire(frame)
        if step is not None:
            self._shell.feed(WorkerStep(session, step))
        if frame.draining:
            self._shell.feed(WorkerDraining(session))

    def _on_tokens(self, session: int, peer: WorkerPeer, frame: TokenFrame) -> None:
        if not peer.is_greeted:
            raise ProtocolViolation("a worker's first frame is its registration")
        self._shell.feed_tokens(session, frame.streams, frame.token_ids)

    def _register(self, session: int, peer: WorkerPeer, frame: fleet_pb2.AttachRequest) -> None:
        if not frame.HasField("registration"):
            raise ProtocolViolation("a worker's first frame is its registration")
        greeting = fleet_pb2.FleetGreeting(
            router_id=self._router_id,
            session_id=str(session),
            load_interval_ms=self._limits.heartbeat_interval_ms,
        )
        registration = registration_from_wire(frame.registration)
        log.info("worker %s registers as %s", registration.worker_id, registration.role.name.lower())
        self._shell.feed(WorkerAttached(session, registration))
        if peer.refusal is not None:  # a greeting would tell the worker that it serves
            raise peer.refusal
        peer.draft.greet(greeting)
        peer.is_greeted = True
        peer.link.wake()
