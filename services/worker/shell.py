"""Between one engine and its routers: who gave which job, and who hears of what."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from services.common.domain import Capacity, FailureKind, Grant, Job, JobFailed, KvChange, StepOutput, Want
from services.common.limits import DEFAULTS
from services.worker.cached_blocks import CachedBlocks
from services.worker.engine import Engine
from services.worker.grants import Grants
from services.worker.jobs import JobTable
from services.worker.metrics import Metrics
from services.worker.sharing import share

JOBS_MAX = 8_192
"""Jobs of all sessions together; more fail at once, so that they run elsewhere."""


class Session(Protocol):
    """One router's side of the worker."""

    def tell(self, part: StepOutput) -> None:
        """Send this router its part of a step; must not block."""

    def grant(self, grant: Grant) -> None:
        """Tell this router how much it may place here; must not block."""


class Shell:
    """The engine's sink. Every job and offer belongs to exactly one session and ends with it."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._jobs = JobTable[Session]()
        self._sessions: dict[Session, None] = {}
        self._cached = CachedBlocks(DEFAULTS.kv_snapshot_tokens_max)
        self._grants: Grants[Session] | None = None
        self._leaving = False
        self.steps = 0
        """Engine steps with news so far."""
        self.engine_death: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done when the engine is gone, with the reason."""
        self.idle = asyncio.Event()
        """Set while no session has a job or an offer here."""
        self.idle.set()

    def on_step(self, output: StepOutput) -> None:
        """Give each session its part."""
        self.steps += 1
        self._metrics.count(output)
        self._cached.take(output.kv_changes)
        for session, part in share(output, self._jobs, self._sessions).items():
            session.tell(part)
        self._note_idleness()

    def on_engine_dead(self, why: str) -> None:
        """Remember why; the process ends."""
        if not self.engine_death.done():
            self.engine_death.set_result(why)

    def divide(self, capacity: Capacity) -> None:
        """There will be several routers: grant each a part of the engine."""
        self._grants = Grants(capacity)

    def begin(self, session: Session) -> None:
        """A router is attached; it learns what is cached here since before it came."""
        self._sessions[session] = None
        if self._grants is not None:
            self._grants.join(session)
            self._send_grants(self._grants)
        if len(self._cached):
            session.tell(StepOutput(kv_changes=[KvChange(cleared=True), *self._cached.snapshot()]))

    def wanted(self, session: Session, want: Want) -> None:
        """A router has said what it holds and lacks."""
        if self._grants is not None:
            self._grants.wants(session, want)
            self._send_grants(self._grants)

    def _send_grants(self, grants: "Grants[Session]") -> None:
        for session, grant in grants.due():
            session.grant(grant)

    def submit(self, session: Session, job: Job) -> None:
        """Take a job of a session, named by the session's stream number."""
        refusal = self._refusal()
        if refusal is not None:
            self._fail(session, [job.stream], *refusal)
            return
        self.idle.clear()
        self._engine.submit(replace(job, stream=self._jobs.open(session, job.stream)))

    def abort(self, session: Session, streams: Iterable[int]) -> None:
        """End a session's jobs; numbers that are unknown or have ended are ignored."""
        self._engine.abort(self._jobs.close_named(session, streams))
        self._note_idleness()

    def release(self, session: Session, handoff_ids: Iterable[str]) -> None:
        """Free offers made to this session."""
        self._engine.release([i for i in handoff_ids if self._jobs.owns_offer(session, i)])

    def end(self, session: Session) -> None:
        """A router is gone: free everything that it had here, at once. Idempotent."""
        self._sessions.pop(session, None)
        streams, offers = self._jobs.end(session)
        self._engine.abort(streams)
        self._engine.release(offers)
        if self._grants is not None:
            self._grants.leave(session)
            self._send_grants(self._grants)
        self._note_idleness()

    def stop_taking(self) -> None:
        """From now on jobs are turned away; they can run elsewhere."""
        self._leaving = True

    def give_up(self) -> None:
        """End what is left, so that it runs elsewhere, and release all offers."""
        for session in self._sessions:
            open_streams = self._jobs.open_streams(session)
            self._fail(session, open_streams, FailureKind.LEAVING, "the worker leaves")
            self._engine.abort(self._jobs.close_named(session, open_streams))
            self._engine.release(self._jobs.owned_offers(session))
        self._note_idleness()

    def _refusal(self) -> tuple[FailureKind, str] | None:
        if self._leaving:
            return FailureKind.LEAVING, "the worker leaves"
        if len(self._jobs) >= JOBS_MAX:
            return FailureKind.FULL, f"the worker has {JOBS_MAX} jobs"
        return None

    def _fail(self, session: Session, streams: list[int], kind: FailureKind, message: str) -> None:
        part = StepOutput(failed=[JobFailed(stream, kind, message) for stream in streams])
        if streams:
            self._metrics.count(part)
            session.tell(part)

    def _note_idleness(self) -> None:
        if len(self._jobs) or self._jobs.offers:
            self.idle.clear()
        else:
            self.idle.set()
