"""The four drafts: what waits for a router, a worker or a gateway, merged into one frame when it is sent."""

from array import array
from collections import deque
from typing import Generic, TypeVar

from pdmesh.fleet.v1 import fleet_pb2
from pdmesh.router.v1 import router_pb2
from services.common.domain import Grant, LoadReport, StepOutput, TokenColumns, Want
from services.common.domain.tokens import to_bytes, tokens
from services.common.limits import DEFAULTS
from services.common.rpc.columns import columns_to_wire
from services.common.rpc.convert import grant_to_wire, load_to_wire, want_to_wire
from services.common.rpc.kv_backlog import KvBacklog
from services.common.rpc.steps import (
    adopted_to_wire,
    failed_to_wire,
    finished_to_wire,
    kv_change_to_wire,
    offered_to_wire,
    released_to_wire,
)
from services.common.rpc.token_frame import TokenFrame

M = TypeVar("M", fleet_pb2.Job, fleet_pb2.JobFinished, router_pb2.Submission, router_pb2.StreamEnded)

LOADS_PER_KV = 4
"""Load reports to one telling of how texts have grown: what costs is the text and not the block."""
FRAME_FILL_BYTES = 4 * 1024 * 1024
"""Prompts and vectors join one frame up to this size; the rest waits for the next."""


class _FillQueue(Generic[M]):
    """Messages that carry prompts or vectors, given out in order, a frame's fill at a time."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[M, int]] = deque()
        self.size_bytes = 0

    def add(self, message: M) -> None:
        size_bytes = message.ByteSize()
        self._waiting.append((message, size_bytes))
        self.size_bytes += size_bytes

    def fill(self) -> list[M]:
        taken: list[M] = []
        room_bytes = FRAME_FILL_BYTES
        while self._waiting and (not taken or self._waiting[0][1] <= room_bytes):
            message, size_bytes = self._waiting.popleft()
            taken.append(message)
            room_bytes -= size_bytes
            self.size_bytes -= size_bytes
        return taken

    def is_empty(self) -> bool:
        return not self._waiting


class _WithTokens:
    """A draft whose tokens may go in a frame of their own."""

    def __init__(self) -> None:
        self._columns: TokenColumns | None = None
        self._has_more = False
        """Whether the next frame has something beside tokens to take along."""

    def is_clear(self) -> bool:
        """Whether nothing waits, and there is nothing that every frame has to say."""
        return self._columns is None and not self._has_more

    def has_tokens_alone(self) -> bool:
        """Whether nothing waits but tokens."""
        return self._columns is not None and not self._has_more

    def take_tokens(self, sequence: int, acknowledged: int) -> TokenFrame | None:
        """The tokens that wait, if nothing else must go with them."""
        if self._has_more or self._columns is None or not self._columns.is_one_each():
            return None
        columns, self._columns = self._columns, None
        return TokenFrame(sequence, acknowledged, columns.streams, columns.token_ids)


class _WithoutTokens:
    """A draft in whose direction no tokens go."""

    def is_clear(self) -> bool:
        """Never: it is asked for tokens alone."""
        return False

    def has_tokens_alone(self) -> bool:
        """Never."""
        return False

    def take_tokens(self, sequence: int, acknowledged: int) -> None:
        """There are none."""


class WorkerDraft(_WithTokens):
    """Worker to router: engine steps and load."""

    def __init__(self) -> None:
        super().__init__()
        self._frame = fleet_pb2.AttachRequest()
        self._embedded = _FillQueue[fleet_pb2.JobFinished]()
        self._draining = False
        self._kv = KvBacklog()
        self._loads = 0
        self._tells_all_kv = False

    def register(self, registration: fleet_pb2.Registration) -> None:
        """Make the registration part of the next frame, which must be the first."""
        self._frame.registration.CopyFrom(registration)
        self._has_more = True

    def drain(self) -> None:
        """Say in this and every later frame that the worker leaves."""
        self._draining = self._has_more = True

    def add_load(self, load: LoadReport) -> None:
        """Replace the load report that waits; with each fourth go the KV changes that have waited for it."""
        self._frame.load.CopyFrom(load_to_wire(load))
        self._loads += 1
        self._has_more = True
        self._tells_all_kv = self._tells_all_kv or self._loads % LOADS_PER_KV == 0

    @property
    def release_count(self) -> int:
        """How many releases wait."""
        return len(self._frame.released)

    def grant(self, grant: Grant) -> None:
        """Replace the grant that waits."""
        self._frame.grant.CopyFrom(grant_to_wire(grant))
        self._has_more = True

    def add_step(self, step: StepOutput) -> bool:
        """Append one engine step; its tokens are the draft's now. Returns whether anybody waits for it."""
        is_pressing = bool(step.offered or step.adopted or step.finished or step.failed)
        if is_pressing or step.released:
            self._has_more = True
            self._add_news(step)
        if step.kv_changes:
            self._kv.add(step.kv_changes, adopts=bool(step.adopted))
            if self._kv.is_pressing:
                is_pressing = self._has_more = True
        if step.tokens.streams:
            is_pressing = True
            self._columns = _joined(self._columns, step.tokens)
        return is_pressing

    def _add_news(self, step: StepOutput) -> None:
        frame = self._frame
        frame.offered.extend(offered_to_wire(o) for o in step.offered)
        frame.adopted.extend(adopted_to_wire(a) for a in step.adopted)
        frame.finished.extend(finished_to_wire(f) for f in step.finished if f.vector is None)
        for finished in step.finished:
            if finished.vector is not None:
                self._embedded.add(finished_to_wire(finished))
        frame.failed.extend(failed_to_wire(f) for f in step.failed)
        frame.released.extend(released_to_wire(r) for r in step.released)

    def take(self, sequence: int, acknowledged: int) -> fleet_pb2.AttachRequest:
        """What waits, as one frame; more vectors than fill it wait for the next."""
        frame, self._frame = self._frame, fleet_pb2.AttachRequest()
        frame.sequence, frame.acknowledged, frame.draining = sequence, acknowledged, self._draining
        frame.finished.extend(self._embedded.fill())
        if self._columns is not None:
            frame.tokens.CopyFrom(columns_to_wire(self._columns))
            self._columns = None
        changes = self._kv.take() if self._tells_all_kv else self._kv.take_pressing()
        if changes:
            frame.kv_events.events.extend(kv_change_to_wire(change) for change in changes)
        self._has_more, self._tells_all_kv = self._draining, False
        return frame

    def is_empty(self) -> bool:
        """Whether nothing waits, or nothing that cannot."""
        return self._columns is None and self._embedded.is_empty() and not self._has_news()

    def _has_news(self) -> bool:
        # A worker that leaves says so in every frame, but sends none for that alone.
        return self._frame.ByteSize() > 0 or self._kv.is_pressing if self._draining else self._has_more

    def size_bytes(self) -> int:
        """Roughly what waits."""
        other_bytes = self._embedded.size_bytes + self._kv.size_bytes
        return self._frame.ByteSize() + _size_bytes(self._columns) + other_bytes


class CommandDraft(_WithoutTokens):
    """Router to worker: jobs, aborts, releases."""

    def __init__(self) -> None:
        self._frame = fleet_pb2.AttachResponse()
        self._jobs = _FillQueue[fleet_pb2.Job]()
        self._carried: deque[tuple[int, int]] = deque(maxlen=DEFAULTS.frames_unacknowledged_max)
        """Frames with jobs that may still be under way: their numbers, and the newest job in each."""
        self._aborted = tokens()
        self._released: list[str] = []

    def greet(self, greeting: fleet_pb2.FleetGreeting) -> None:
        """Make the greeting part of the next frame, which must be the first."""
        self._frame.greeting.CopyFrom(greeting)

    def add_job(self, job: fleet_pb2.Job) -> None:
        """Append a job."""
        self._jobs.add(job)

    def newest_job(self, acknowledged: int) -> int:
        """The newest job in the frames up to this one, of those that are remembered; 0 for none."""
        return max((stream for sequence, stream in self._carried if sequence <= acknowledged), default=0)

    def want(self, want: Want) -> None:
        """Replace the want that waits."""
        self._frame.want.CopyFrom(want_to_wire(want))

    def abort(self, stream: int) -> None:
        """Append a stream to abort."""
        self._aborted.append(stream)

    def release(self, handoff_id: str) -> None:
        """Append a handoff that nobody will adopt."""
        self._released.append(handoff_id)

    def take(self, sequence: int, acknowledged: int) -> fleet_pb2.AttachResponse:
        """What waits, as one frame; aborts wait until no job does, so that none overtakes its job."""
        frame, self._frame = self._frame, fleet_pb2.AttachResponse()
        frame.sequence, frame.acknowledged = sequence, acknowledged
        jobs = self._jobs.fill()
        if jobs:
            frame.jobs.extend(jobs)
            self._carried.append((sequence, jobs[-1].stream))
        if self._jobs.is_empty():
            frame.aborted_streams = to_bytes(self._aborted)
            frame.released_handoffs.extend(self._released)
            self._aborted, self._released = tokens(), []
        return frame

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self._jobs.is_empty() and not self._aborted and not self._released

    def size_bytes(self) -> int:
        """Roughly what waits."""
        return self._jobs.size_bytes + 4 * len(self._aborted) + 32 * len(self._released)


class SubmissionDraft(_WithoutTokens):
    """Gateway to router: requests and cancellations."""

    def __init__(self) -> None:
        self._frame = router_pb2.ConnectRequest()
        self._submissions = _FillQueue[router_pb2.Submission]()
        self._cancelled = tokens()

    def greet(self, greeting: router_pb2.GatewayGreeting) -> None:
        """Make the greeting part of the next frame, which must be the first."""
        self._frame.greeting.CopyFrom(greeting)

    def submit(self, submission: router_pb2.Submission) -> None:
        """Append a request."""
        self._submissions.add(submission)

    def cancel(self, stream: int) -> None:
        """Append a stream to cancel."""
        self._cancelled.append(stream)

    def take(self, sequence: int, acknowledged: int) -> router_pb2.ConnectRequest:
        """What waits, as one frame; cancels wait until no request does, lest one overtake its request."""
        frame, self._frame = self._frame, router_pb2.ConnectRequest()
        frame.sequence, frame.acknowledged = sequence, acknowledged
        frame.submissions.extend(self._submissions.fill())
        if self._submissions.is_empty():
            frame.cancelled_streams = to_bytes(self._cancelled)
            self._cancelled = tokens()
        return frame

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self._submissions.is_empty() and not self._cancelled

    def size_bytes(self) -> int:
        """Roughly what waits."""
        return self._submissions.size_bytes + 4 * len(self._cancelled)


class AnswerDraft(_WithTokens):
    """Router to gateway: placements, tokens, ends."""

    def __init__(self) -> None:
        super().__init__()
        self._frame = router_pb2.ConnectResponse()
        self._embedded = _FillQueue[router_pb2.StreamEnded]()
        self._leaving = False

    def leave(self) -> None:
        """Say in this and every later frame that the router leaves."""
        self._leaving = self._has_more = True

    def greet(self, greeting: router_pb2.RouterGreeting) -> None:
        """Make the greeting part of the next frame, which must be the first."""
        self._frame.greeting.CopyFrom(greeting)
        self._has_more = True

    def set_models(self, models: router_pb2.ModelList) -> None:
        """Replace the model list that waits."""
        self._frame.models.CopyFrom(models)
        self._has_more = True

    def place(self, placed: router_pb2.StreamPlaced) -> None:
        """Append a placement."""
        self._frame.placed.append(placed)
        self._has_more = True

    def add_tokens(self, stream: int, ids: "array[int]") -> None:
        """Append one stream's tokens."""
        columns = TokenColumns()
        columns.add(stream, ids)
        self.add_columns(columns)

    def add_columns(self, columns: TokenColumns) -> None:
        """Append many streams' tokens, which are the draft's from now on."""
        self._columns = _joined(self._columns, columns)

    def end(self, ended: router_pb2.StreamEnded) -> None:
        """Append a stream's outcome."""
        self._has_more = True
        if ended.vector:
            self._embedded.add(ended)
        else:
            self._frame.ended.append(ended)

    def take(self, sequence: int, acknowledged: int) -> router_pb2.ConnectResponse:
        """What waits, as one frame; more vectors than fill it wait for the next."""
        frame, self._frame = self._frame, router_pb2.ConnectResponse()
        frame.sequence, frame.acknowledged, frame.leaving = sequence, acknowledged, self._leaving
        frame.ended.extend(self._embedded.fill())
        if self._columns is not None:
            frame.tokens.CopyFrom(columns_to_wire(self._columns))
            self._columns = None
        self._has_more = self._leaving or not self._embedded.is_empty()
        return frame

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self._columns is None and not self._frame.ByteSize() and self._embedded.is_empty()

    def size_bytes(self) -> int:
        """Roughly what waits."""
        return self._frame.ByteSize() + _size_bytes(self._columns) + self._embedded.size_bytes


def _joined(waiting: TokenColumns | None, newer: TokenColumns) -> TokenColumns:
    if waiting is None:
        return newer
    waiting.extend(newer)
    return waiting


def _size_bytes(columns: TokenColumns | None) -> int:
    if columns is None:
        return 0
    numbers = len(columns.token_ids)
    if columns.logprobs is not None:
        numbers += len(columns.logprobs.chosen) + 2 * len(columns.logprobs.top)
    return 4 * numbers
