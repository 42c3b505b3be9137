"""What the core is told. Sessions are numbers that the shell gives to each connection, never reused."""

from dataclasses import dataclass

from services.common.domain import LoadReport, Registration, Request, StepOutput


@dataclass(frozen=True, slots=True)
class WorkerAttached:
    """A worker has registered."""

    session: int
    registration: Registration


@dataclass(frozen=True, slots=True)
class WorkerDetached:
    """A worker's stream has ended; it frees everything by itself."""

    session: int


@dataclass(frozen=True, slots=True)
class WorkerDraining:
    """A worker wants no more work."""

    session: int


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """A worker's load report."""

    session: int
    load: LoadReport


@dataclass(frozen=True, slots=True)
class WorkerStep:
    """A worker's engine step."""

    session: int
    step: StepOutput


@dataclass(frozen=True, slots=True)
class GatewayAttached:
    """A gateway has connected."""

    session: int


@dataclass(frozen=True, slots=True)
class GatewayDetached:
    """A gateway's stream has ended: nobody waits for its requests any more."""

    session: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """A gateway submits a request under its own stream number."""

    session: int
    stream: int
    request: Request


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A gateway cancels a stream. Unknown streams are ignored: the end may have crossed the cancel."""

    session: int
    stream: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    WorkerAttached
    | WorkerDetached
    | WorkerDraining
    | WorkerLoad
    | WorkerStep
    | GatewayAttached
    | GatewayDetached
    | Submitted
    | CancelRequested
    | Tick
)
