"""Quota that one call holds."""

from services.common.clock import Clock
from services.gateway.accounts.quota.account import Account
from services.gateway.accounts.quota.headers import Header, ratelimit_headers


class Reservation:
    """One request and so many tokens, until it is settled."""

    __slots__ = ("_account", "_clock", "_is_settled", "_tokens")

    def __init__(self, account: Account, tokens: int, clock: Clock) -> None:
        self._account = account
        self._clock = clock
        self._tokens = tokens
        self._is_settled = False
        account.take(tokens)

    @property
    def headers(self) -> tuple[Header, ...]:
        """`x-ratelimit-*`, as things stand."""
        return ratelimit_headers(self._account, self._clock.now_ms())

    def settle(self, tokens_used: int) -> None:
        """Give back the tokens that were not used; the request itself counts. Only the first call counts."""
        if not self._is_settled:
            self._is_settled = True
            self._account.give_back(self._tokens - tokens_used)


class Unlimited:
    """What a caller without limits gets."""

    headers: tuple[Header, ...] = ()

    def settle(self, tokens_used: int) -> None:
        """Nothing to give back."""


FREE = Unlimited()
