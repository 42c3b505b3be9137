"""A receipt for people."""

from typing import Any


def receipt_lines(receipt: dict[str, Any]) -> list[str]:
    """The receipt as one line per field, aligned; fields without a value are left out."""
    shown = [(name.replace("_", " "), value) for name, value in receipt.items() if value not in ("", None)]
    width = max((len(name) for name, _ in shown), default=0)
    return [f"  {name:<{width}}  {_text(value)}" for name, value in shown]


def _text(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
