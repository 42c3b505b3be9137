"""Headers that tell a caller what is left of its budgets."""

from services.gateway.accounts.spending.amount import amount_text
from services.gateway.accounts.spending.purse import Purse
from services.gateway.accounts.spending.wallet import Wallet
from services.gateway.accounts.spending.warnings import is_near

Header = tuple[str, str]
PREFIX = "x-pdmesh-budget-"


def budget_headers(wallet: Wallet) -> tuple[Header, ...]:
    """`x-pdmesh-budget-limit-`, `-remaining-` and `-reset-` for day and month, those that are limited, and
    `x-pdmesh-budget-warning` where most of one is spent."""
    headers = [header for purse in wallet for header in _headers(purse)]
    near = [_warning(purse) for purse in wallet if is_near(purse, wallet)]
    if near:
        headers.append((f"{PREFIX}warning", ", ".join(near)))
    return tuple(headers)


def _headers(purse: Purse) -> tuple[Header, ...]:
    return (
        (f"{PREFIX}limit-{purse.period}", amount_text(purse.limit)),
        (f"{PREFIX}remaining-{purse.period}", amount_text(purse.remaining)),
        (f"{PREFIX}reset-{purse.period}", purse.calendar.reset_text(purse.period)),
    )


def _warning(purse: Purse) -> str:
    spent_percent = 100 * purse.spent // purse.limit if purse.limit else 100
    return f"{spent_percent}% of the {purse.period}'s budget is spent"
