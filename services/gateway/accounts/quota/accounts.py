"""The accounts of all tenants with a quota."""

import time
from collections.abc import Iterable, Iterator

from services.gateway.accounts.quota.account import Account
from services.gateway.accounts.spending.calendar import Calendar
from services.gateway.accounts.spending.wallet import Wallet
from services.gateway.tenants import Caller

LEASE_MS = 2_000
"""A gateway that reports nothing for this long has lost its leases."""
FENCE_MS = 1_500
"""It takes them for lost before that, for its report may be on the way."""
RENEW_MS = 500
"""An account with nothing new and nothing to spare is reported this often, so that its slots stay its own."""


class Accounts:
    """By tenant. Beside a store, those that hold nothing are forgotten; alone, all stay."""

    def __init__(self, share: float | None, calendar: Calendar | None = None) -> None:
        self.share = share
        """This gateway's part of all limits while it is alone, and None beside a store."""
        self._by_tenant: dict[str, Account] = {}
        self._calendar = calendar or Calendar(time.time)
        self._wallets: dict[str, Wallet] = {}
        """Of tenants whose accounts are forgotten: what they had spent is not."""

    def __len__(self) -> int:
        return len(self._by_tenant)

    def find(self, caller: Caller, now_ms: float) -> Account:
        """A caller's account, with the limits that it has at present."""
        account = self._by_tenant.get(caller.tenant)
        if account is None or account.quota != caller.quota:
            account = self._open(caller, account, now_ms)
        elif self.share is None and now_ms - account.confirmed_ms > FENCE_MS > 0:
            account.forfeit()
        return account

    def _open(self, caller: Caller, earlier: Account | None, now_ms: float) -> Account:
        account = Account(caller.tenant, caller.quota, self.share, now_ms, self._calendar)
        wallet = earlier.wallet if earlier is not None else self._wallets.pop(caller.tenant, None)
        if wallet is not None:
            account.wallet.take_over(wallet, self.share)
        self._by_tenant[caller.tenant] = account
        return account

    def counted(self, tenant: str, day: str, cost: int) -> None:
        """The ledger has counted a use of this gateway's."""
        if (account := self._by_tenant.get(tenant)) is not None and account.wallet:
            account.wallet.counted(day, cost)
            account.is_changed = True

    def due(self, now_ms: float, count_max: int) -> list[Account]:
        """Accounts to report, those that somebody waits for first."""
        wanted = [a for a in self if _has_news(a) or now_ms - a.confirmed_ms > RENEW_MS]
        wanted.sort(key=lambda account: (not account.is_waited_for, account.confirmed_ms))
        return wanted[:count_max]

    def forget_bare(self, accounts: Iterable[Account], now_ms: float) -> None:
        """Let go of those that hold nothing; their tenants' next request asks the store."""
        for account in accounts:
            if account.is_bare(now_ms) and self._by_tenant.get(account.tenant) is account:
                del self._by_tenant[account.tenant]
                if account.wallet:
                    self._wallets[account.tenant] = account.wallet

    def go_alone(self, share: float, now_ms: float) -> None:
        """Go on without the store."""
        self.share = share
        for account in self:
            account.go_alone(share, now_ms)

    def come_back(self, now_ms: float) -> None:
        """Go on with the store."""
        self.share = None
        for account in self:
            account.come_back(now_ms)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_tenant.values())


def _has_news(account: Account) -> bool:
    return account.is_changed or account.is_waited_for or account.has_leases
