"""What tenants used, as it is counted and as it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.common.domain.record import record

DAYS_MAX = 400
"""How long a day's counters are kept, and the longest span that is shown at once."""


@record
class UsageEntry:
    """One request's use. Whole numbers, so that sums are exact."""

    number: int
    """Its place in the log of the gateway that booked it, from 1."""
    day: str
    """Of its end, in UTC: `2026-01-31`."""
    tenant: str
    model: str
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    kv_token_ms: int
    """Tokens in KV caches times the milliseconds that they were held."""
    cost_nano: int
    """Cost in billionths of the price's currency."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one tenant used of one model on one day."""

    day: str
    tenant: str
    model: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    kv_seconds: float
    """Tokens in KV caches times the seconds that they were held."""
    cost: float


class Ledger(Protocol):
    """The counters of all gateways. Methods raise `StoreUnavailable`."""

    async def add(self, log_id: str, entries: Sequence[UsageEntry]) -> int:
        """Count entries of one log, in order; those that were counted before are passed over.

        Returns how many were counted.
        """

    async def rows(self, days: Sequence[str]) -> list[UsageRow]:
        """The counters of some days, by day, tenant and model."""

    async def close(self) -> None:
        """Let go of connections."""


def rows_of(day: str, counters: dict[tuple[str, str, str], int]) -> list[UsageRow]:
    """Rows from a day's counters by tenant, model and counter."""
    pairs = sorted({(tenant, model) for tenant, model, _ in counters})
    return [_row(day, tenant, model, counters) for tenant, model in pairs]


def _row(day: str, tenant: str, model: str, counters: dict[tuple[str, str, str], int]) -> UsageRow:
    def of(counter: str) -> int:
        return counters.get((tenant, model, counter), 0)

    return UsageRow(
        day=day,
        tenant=tenant,
        model=model,
        requests=of("requests"),
        prompt_tokens=of("prompt_tokens"),
        cached_tokens=of("cached_tokens"),
        generated_tokens=of("generated_tokens"),
        kv_seconds=of("kv_token_ms") / 1e3,
        cost=of("cost_nano") / 1e9,
    )
