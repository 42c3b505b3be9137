"""OpenAI's headers that tell a caller what is left of its quota."""

import math

from services.gateway.accounts.quota.account import Account
from services.gateway.accounts.quota.bucket import MINUTE_MS
from services.gateway.accounts.quota.budget import Budget

Header = tuple[str, str]


def ratelimit_headers(account: Account, now_ms: float) -> tuple[Header, ...]:
    """`x-ratelimit-limit-`, `-remaining-` and `-reset-` for requests and tokens, those that are limited."""
    return (*_headers("requests", account.requests, now_ms), *_headers("tokens", account.tokens, now_ms))


def _headers(name: str, budget: Budget | None, now_ms: float) -> tuple[Header, ...]:
    if budget is None:
        return ()
    remaining = budget.remaining(now_ms)
    full_ms = (budget.limit - remaining) * MINUTE_MS / budget.limit if budget.limit else MINUTE_MS
    return (
        (f"x-ratelimit-limit-{name}", str(budget.limit)),
        (f"x-ratelimit-remaining-{name}", str(remaining)),
        (f"x-ratelimit-reset-{name}", duration(full_ms)),
    )


def duration(time_ms: float) -> str:
    """A time as OpenAI writes it: `120ms`, `1.5s`, `6m0s`; rounded up."""
    whole_ms = math.ceil(time_ms)
    if whole_ms < 1_000:
        return f"{whole_ms}ms"
    minutes, rest_ms = divmod(whole_ms, 60_000)
    return f"{minutes}m{rest_ms / 1_000:g}s" if minutes else f"{rest_ms / 1_000:g}s"
