"""Refusals that still tell what is left."""

import math

from services.common.errors import BudgetSpent, QuotaExceeded
from services.gateway.accounts.quota.account import Account
from services.gateway.accounts.quota.headers import Header, ratelimit_headers
from services.gateway.accounts.spending.amount import amount_text
from services.gateway.accounts.spending.headers import budget_headers
from services.gateway.accounts.spending.purse import Purse

NO_RETRY: Header = ("x-should-retry", "false")
"""What OpenAI's clients obey: a budget is not there again within their patience."""


class OverLimit(QuotaExceeded):
    """`QuotaExceeded`, with the headers that an answer would have had."""

    def __init__(
        self, message: str, *, kind: str, retry_after_ms: int | None, headers: tuple[Header, ...]
    ) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)
        self.kind = kind
        """What ran out, in OpenAI's words for the error's `type`: `tokens` or `requests`."""
        self.headers = headers
        """`x-ratelimit-*`."""


class OverBudget(BudgetSpent):
    """`BudgetSpent`, with the same."""

    kind = BudgetSpent.reason

    def __init__(self, message: str, *, retry_after_ms: int, headers: tuple[Header, ...]) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)
        self.headers = headers
        """`x-ratelimit-*` and `x-pdmesh-budget-*`."""


def over_budget(account: Account, purse: Purse, now_ms: float) -> OverBudget:
    """The refusal for a purse that has too little left."""
    return OverBudget(
        f"The budget of {amount_text(purse.limit)} a {purse.period} is spent, or what is left of it "
        f"({amount_text(purse.remaining)}) is less than this request may cost. It is there again at "
        f"{purse.calendar.reset_text(purse.period)}; a smaller max_tokens costs less.",
        retry_after_ms=math.ceil(purse.calendar.left_ms(purse.period)),
        headers=(*ratelimit_headers(account, now_ms), *budget_headers(account.wallet), NO_RETRY),
    )
