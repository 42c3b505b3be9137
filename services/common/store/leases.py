"""What a gateway and the store tell each other of tenants' budgets."""

from dataclasses import dataclass

from services.common.store.purses import PurseLease, PurseReport

NO_LIMIT = -1


@dataclass(frozen=True, slots=True)
class PoolReport:
    """One gateway's part of one refilling bucket. All in units of the bucket: tokens or requests."""

    limit: int
    """Its size, and what it gains a minute; `NO_LIMIT` is none."""
    held: int
    """What the gateway may still spend, without `returned`; negative is a debt."""
    returned: int
    wanted: int
    seed: int
    """What nobody held by its last knowledge, for a store that has lost the bucket."""


@dataclass(frozen=True, slots=True)
class SlotsReport:
    """One gateway's part of the requests that may be in flight."""

    limit: int
    held: int
    """In flight and free."""
    wanted: int


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """One gateway's part of one tenant's budget."""

    tenant: str
    tokens: PoolReport
    requests: PoolReport
    slots: SlotsReport
    purses: tuple[PurseReport, ...] = ()
    """Its budgets of money."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The answer for one bucket."""

    granted: int
    left: int
    """What remains that no gateway holds; negative while there is a debt."""


@dataclass(frozen=True, slots=True)
class BudgetLease:
    """The answer for one tenant."""

    tokens: Lease
    requests: Lease
    slots: Lease
    is_contended: bool = False
    """Whether another gateway has lately got less than it wanted."""
    purses: tuple[PurseLease, ...] = ()
    """For each of the report's."""


UNUSED_POOL = PoolReport(NO_LIMIT, 0, 0, 0, 0)
UNUSED_SLOTS = SlotsReport(NO_LIMIT, 0, 0)
