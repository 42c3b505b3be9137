"""Quota that one call holds."""

from collections.abc import Callable

from services.common.clock import Clock
from services.gateway.accounts.quota.account import Account
from services.gateway.accounts.quota.headers import Header, ratelimit_headers
from services.gateway.accounts.spending.headers import budget_headers


class Reservation:
    """One request and so many tokens, until it is settled."""

    __slots__ = ("_account", "_clock", "_cost", "_is_settled", "_on_settled", "_tokens")

    def __init__(
        self, account: Account, tokens: int, cost: int, clock: Clock, on_settled: Callable[[Account], None]
    ) -> None:
        """`cost` is the most that it may cost, in billionths of the currency."""
        self._account = account
        self._clock = clock
        self._tokens = tokens
        self._cost = cost
        self._on_settled = on_settled
        self._is_settled = False
        account.take(tokens, cost)

    @property
    def headers(self) -> tuple[Header, ...]:
        """`x-ratelimit-*` and `x-pdmesh-budget-*`, as things stand."""
        limits = ratelimit_headers(self._account, self._clock.now_ms())
        return (*limits, *budget_headers(self._account.wallet))

    def settle(self, tokens_used: int, cost_nano: int = 0) -> None:
        """Give back the tokens and the money that were not used; the request itself counts. Only the first
        call counts.
        """
        if not self._is_settled:
            self._is_settled = True
            self._account.give_back(self._tokens - tokens_used, self._cost, cost_nano)
            self._on_settled(self._account)


class Unlimited:
    """What a caller without limits gets."""

    headers: tuple[Header, ...] = ()

    def settle(self, tokens_used: int, cost_nano: int = 0) -> None:
        """Nothing to give back."""


FREE = Unlimited()
