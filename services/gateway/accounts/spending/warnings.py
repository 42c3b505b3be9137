"""Soft warnings: a tenant has spent most of a budget."""

import logging
from collections.abc import Callable

from services.gateway.accounts.spending.amount import amount_text
from services.gateway.accounts.spending.calendar import Period
from services.gateway.accounts.spending.purse import Purse
from services.gateway.accounts.spending.wallet import Wallet

_log = logging.getLogger("pdmesh.budgets")


class Warnings:
    """Says once for each tenant and period that most is spent; the headers of answers say it every time."""

    def __init__(self, on_warned: Callable[[Period], None]) -> None:
        self._on_warned = on_warned
        self._told: dict[tuple[str, Period], str] = {}
        """Which day or month each tenant was told of last: as many entries as budgets."""

    def look(self, tenant: str, wallet: Wallet) -> None:
        """Warn where that is due."""
        for purse in wallet:
            if is_near(purse, wallet):
                self._tell(tenant, purse)

    def _tell(self, tenant: str, purse: Purse) -> None:
        name = purse.calendar.name(purse.period)
        if self._told.get((tenant, purse.period)) == name:
            return
        self._told[tenant, purse.period] = name
        self._on_warned(purse.period)
        _log.warning(
            "budgets: tenant %s has spent %s of its %s for the %s %s",
            tenant,
            amount_text(purse.spent),
            amount_text(purse.limit),
            purse.period,
            name,
        )


def is_near(purse: Purse, wallet: Wallet) -> bool:
    """Whether so much is spent that a warning is due."""
    return purse.spent >= wallet.warning_share * purse.limit
