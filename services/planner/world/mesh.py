"""A world around the router's real core: workers, links in order, and what becomes of its actions.

Who plays in it gives the workers, says how long a message is on its way, and takes the callers' news.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from services.common.domain import Job, StepOutput, TokenColumns
from services.planner.world.timeline import Timeline
from services.router.core import CoreConfig, RouterCore
from services.router.core.actions import (
    AbortJob,
    Action,
    EndStream,
    RefuseWorker,
    ReleaseHandoff,
    SendPlaced,
    SendTokenEach,
    SendTokens,
    StartJob,
)
from services.router.core.events import Event, WorkerStep
from services.router.core.state import CANARY_GATEWAY


class VirtualWorker(Protocol):
    """What the world asks of a worker."""

    def start(self, job: Job) -> None:
        """Take a job."""

    def abort(self, stream: int) -> None:
        """End a job."""

    def release(self, handoff_id: str) -> None:
        """Free an offer that nobody will adopt."""


W = TypeVar("W", bound=VirtualWorker)


class CoreWorld(Timeline, Generic[W]):
    """The core, its workers by session, and time."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.core = RouterCore(config)
        self.workers: dict[int, W] = {}
        self._link_ready_ms: dict[tuple[str, int], float] = {}

    def way_ms(self) -> float:
        """How long the next message is on its way."""
        return 0.0

    def over_link(self, direction: str, session: int, call: Callable[[], None]) -> None:
        """Deliver a message after its time, in order within its link."""
        link = direction, session
        ready_ms = max(self.now_ms + self.way_ms(), self._link_ready_ms.get(link, 0.0))
        self._link_ready_ms[link] = ready_ms
        self.at(ready_ms - self.now_ms, call)

    def feed(self, event: Event) -> None:
        """Tell the core and do what it wants."""
        for action in self.tell(event, self.now_ms):
            self.perform(action)

    def tell(self, event: Event, now_ms: float) -> list[Action]:
        """Tell the core; steps of tokens alone have a door of their own."""
        if isinstance(event, WorkerStep):
            columns = event.step.tokens
            if columns.streams and columns.is_one_each() and event.step == StepOutput(tokens=columns):
                return self.core.on_tokens(event.session, columns.streams, columns.token_ids, now_ms)
        return self.core.on_event(event, now_ms)

    def perform(self, action: Action) -> None:
        """Do what the core wants."""
        match action:
            case StartJob(session, job):
                self.over_link("down", session, lambda: self._start(session, job))
            case AbortJob(session, stream):
                self.over_link("down", session, lambda: self._abort(session, stream))
            case ReleaseHandoff(session, handoff_id):
                self.over_link("down", session, lambda: self._release(session, handoff_id))
            case SendTokens(session, columns) if session != CANARY_GATEWAY:
                self.tokens_sent(session, columns)
            case SendTokenEach(session, streams, token_ids) if session != CANARY_GATEWAY:
                self.tokens_sent(session, TokenColumns.one_each(streams, token_ids))
            case EndStream():
                self.stream_ended(action)
            case SendPlaced(session, stream):
                self.stream_placed(session, stream)
            case RefuseWorker(session):
                self.workers.pop(session, None)
                self.worker_refused(action)

    def tokens_sent(self, session: int, columns: TokenColumns) -> None:
        """A gateway gets tokens."""

    def stream_placed(self, session: int, stream: int) -> None:
        """A gateway learns where a stream runs."""

    def stream_ended(self, end: EndStream) -> None:
        """A gateway learns a stream's only outcome."""

    def worker_refused(self, refusal: RefuseWorker) -> None:
        """A worker was not taken."""

    def _start(self, session: int, job: Job) -> None:
        if (worker := self.workers.get(session)) is not None:
            worker.start(job)

    def _abort(self, session: int, stream: int) -> None:
        if (worker := self.workers.get(session)) is not None:
            worker.abort(stream)

    def _release(self, session: int, handoff_id: str) -> None:
        if (worker := self.workers.get(session)) is not None:
            worker.release(handoff_id)
