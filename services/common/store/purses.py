"""What a gateway and the store tell each other of tenants' money, in billionths of the currency."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PurseReport:
    """One gateway's part of one tenant's budget for one period."""

    tenant: str
    period: str
    """`2026-01-31` for a day, `2026-01` for a month, in UTC."""
    limit: int
    outstanding: int
    """What the gateway holds, has reserved for requests in flight, or has booked and not had counted."""
    reserved: int
    """The part of that which only the end of requests gives back."""
    wanted: int
    least: int
    """Less than this is of no use to it."""
    seed: int
    """What was spent by its last knowledge, for a store that has lost it."""


@dataclass(frozen=True, slots=True)
class PurseLease:
    """The answer."""

    granted: int
    left: int
    """What remains that no gateway has; negative where more was spent than the limit."""
    recoverable: int
    """What other gateways have that they may give back soon."""
    spent: int
    """What the ledger has counted."""
    is_contended: bool = False
    """Whether another gateway has lately got less than it wanted."""
