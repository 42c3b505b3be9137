"""One attachment to one router: its frames in, the engine's news out."""

from collections.abc import Callable
from typing import Any

from pdmesh.fleet.v1 import fleet_pb2
from services.common.clock import Clock
from services.common.domain import Grant, LoadReport, Registration, StepOutput
from services.common.domain.tokens import from_bytes
from services.common.errors import ProtocolViolation
from services.common.limits import Limits
from services.common.rpc import Link
from services.common.rpc.convert import job_from_wire, registration_to_wire, want_from_wire
from services.common.rpc.frames import WorkerDraft
from services.worker.shell import Shell

TIGHT_KV_SHARE = 0.25
"""With less of its KV blocks free than this, a worker says soon what it has freed."""
RELEASES_MAX = 4
"""Releases that wait for a load report: a router counts prompts whole, and may lack room that there is."""
IDS_PER_FRAME_MAX = 65_536
"""Aborted streams or released handoffs in one frame; more is a violation."""


class RouterSession:
    """Lives as long as one stream; a reconnected router gets a new one. Implements `shell.Session`."""

    def __init__(
        self,
        call: Any,
        shell: Shell,
        registration: Registration,
        *,
        limits: Limits,
        clock: Clock,
        on_greeted: Callable[[], None],
    ) -> None:
        self._shell = shell
        self._on_greeted = on_greeted
        self._draft = WorkerDraft()
        self._draft.register(registration_to_wire(registration))
        self.link: Link[fleet_pb2.AttachResponse, fleet_pb2.AttachRequest] = Link(
            call, self._draft, limits=limits, clock=clock
        )
        self.link.wake()
        self._newest_stream = 0
        self._is_shared = registration.is_shared
        self._is_tight = True
        """Whether somebody may wait for KV blocks; else what is freed is told with the next load report."""
        self.greeting: fleet_pb2.FleetGreeting | None = None
        """What the router said first; None until it has accepted this worker."""

    def tell(self, part: StepOutput) -> None:
        """Send this router's part of a step with the next frame."""
        if self._draft.add_step(part):
            self.link.wake()
        elif part.released and (self._is_tight or self._draft.release_count >= RELEASES_MAX):
            self.link.wake_later()

    def grant(self, grant: Grant) -> None:
        """Say with the next frame how much this router may place here."""
        self._draft.grant(grant)
        self.link.wake()

    def report(self, load: LoadReport) -> None:
        """Send what the engine holds with the next frame."""
        is_scarce = load.kv_blocks_free < load.kv_blocks_total * TIGHT_KV_SHARE
        self._is_tight = is_scarce or self._is_shared
        self._draft.add_load(load)
        self.link.wake_later()

    def drain(self) -> None:
        """Say that the worker leaves."""
        self._draft.drain()
        self.link.wake()

    def die(self) -> None:
        """Say at once what has come; it is what the engine has died of, or with."""
        self.link.wake()

    def on_frame(self, frame: fleet_pb2.AttachResponse) -> None:
        """Do what the router asks; raises ProtocolViolation."""
        if self.greeting is None:
            self._greeted(frame)
        if frame.HasField("want"):
            self._shell.wanted(self, want_from_wire(frame.want))
        if frame.jobs:
            self.link.acknowledge_later()  # an engine may die of one: that it was here must be known by then
        for wire in frame.jobs:
            self._take_job(wire)
        if frame.aborted_streams:
            self._abort(frame.aborted_streams)
        if frame.released_handoffs:
            _require_bounded(len(frame.released_handoffs))
            self._shell.release(self, frame.released_handoffs)

    def _greeted(self, frame: fleet_pb2.AttachResponse) -> None:
        if not frame.HasField("greeting"):
            raise ProtocolViolation("a router's first frame is its greeting")
        self.greeting = frame.greeting
        self._shell.begin(self)
        self._on_greeted()

    def _take_job(self, wire: fleet_pb2.Job) -> None:
        if wire.stream <= self._newest_stream:
            raise ProtocolViolation(f"stream {wire.stream} comes after stream {self._newest_stream}")
        job = job_from_wire(wire)
        self._newest_stream = wire.stream
        self._shell.submit(self, job)

    def _abort(self, column: bytes) -> None:
        try:
            streams = from_bytes(column)
        except ValueError as error:
            raise ProtocolViolation(f"aborted streams: {error}") from error
        _require_bounded(len(streams))
        self._shell.abort(self, streams)


def _require_bounded(count: int) -> None:
    if count > IDS_PER_FRAME_MAX:
        raise ProtocolViolation(f"{count} ids in one frame, at most {IDS_PER_FRAME_MAX}")
