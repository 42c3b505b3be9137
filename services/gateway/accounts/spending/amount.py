"""Amounts of money in words."""

from decimal import Decimal

NANO_DIGITS = 9


def amount_text(nano: int) -> str:
    """An amount in billionths of the currency as a plain decimal number: `0.25`."""
    text = f"{Decimal(nano).scaleb(-NANO_DIGITS):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
