"""What the core is told. Sessions are numbers that the shell gives to each connection, never reused."""

from dataclasses import dataclass

from services.common.domain import Grant, LoadReport, Registration, Request, Role, StepOutput
from services.common.domain.record import record
from services.router.core.scaling.reports import RouterReport


@dataclass(frozen=True, slots=True)
class WorkerAttached:
    """A worker has registered."""

    session: int
    registration: Registration


@dataclass(frozen=True, slots=True)
class WorkerDetached:
    """A worker's stream has ended; it frees everything by itself."""

    session: int
    newest_job: int
    """Stream of the newest job that it is known to have received; 0 for none."""
    has_died: bool = True
    """Its connection broke; False for one that took its leave, or of which nothing more was heard."""


@dataclass(frozen=True, slots=True)
class WorkerDraining:
    """A worker wants no more work."""

    session: int


@record
class WorkerLoad:
    """A worker's load report."""

    session: int
    load: LoadReport


@dataclass(frozen=True, slots=True)
class WorkerGrant:
    """How much of itself a worker that serves other routers too gives to this one."""

    session: int
    grant: Grant


@record
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


@record
class Submitted:
    """A gateway submits a request under its own stream number."""

    session: int
    stream: int
    request: Request


@record
class CancelRequested:
    """A gateway cancels a stream. Unknown streams are ignored: the end may have crossed the cancel."""

    session: int
    stream: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Give a worker no new work; what runs ends."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class Undrain:
    """Give it work again."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class StandBy:
    """Keep it loaded, without work."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class Activate:
    """Give a standby worker work."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class SetRole:
    """Drain it, then change its role."""

    worker_id: str
    role: Role


@dataclass(frozen=True, slots=True)
class SetLocalThreshold:
    """Uncached prompts up to so many tokens take the local path."""

    tokens: int


@dataclass(frozen=True, slots=True)
class Forgive:
    """Forget quarantined prompts and close every breaker."""


@dataclass(frozen=True, slots=True)
class ScalerAttached:
    """Somebody starts and ends workers by the scaler's decisions from here on."""

    session: int


@dataclass(frozen=True, slots=True)
class ScalerDetached:
    """And does so no more."""

    session: int


@dataclass(frozen=True, slots=True)
class RoutersSeen:
    """What the other routers of the fleet report, all that live, and whose it is to scale it."""

    reports: tuple[RouterReport, ...] = ()
    decider: str = ""
    """Which of these lives decides; "" for none of them."""
    decides_until_ms: float = float("-inf")
    """Until when we do."""


FleetOrder = Drain | Undrain | StandBy | Activate | SetRole | SetLocalThreshold | Forgive

Event = (
    WorkerAttached
    | WorkerDetached
    | WorkerDraining
    | WorkerLoad
    | WorkerGrant
    | WorkerStep
    | GatewayAttached
    | GatewayDetached
    | Submitted
    | CancelRequested
    | ScalerAttached
    | ScalerDetached
    | RoutersSeen
    | Tick
    | FleetOrder
)
