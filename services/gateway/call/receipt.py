"""Receipts as callers and logs see them."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from services.common.domain import Receipt


def receipts_json(receipts: Sequence[Receipt], model_reason: str) -> dict[str, Any]:
    """The first one; with the others' beside it, where there are several."""
    first = receipt_json(receipts[0])
    if len(receipts) > 1:
        first["choices"] = [receipt_json(receipt) for receipt in receipts]
    if model_reason:
        first["model_reason"] = model_reason
    return first


def receipt_json(receipt: Receipt) -> dict[str, Any]:
    """A receipt for people and programs; milliseconds with three decimals."""
    made: dict[str, Any] = dict(zip(_SHOWN, _shown(receipt), strict=True))
    made["path"] = receipt.path.name.lower() if receipt.path is not None else None
    for name in _ROUNDED:
        made[name] = round(made[name], 3)
    return made


_SHOWN = (*Receipt.__dataclass_fields__, "handoff_gb_per_s")
_shown = attrgetter(*_SHOWN)
_ROUNDED = ("queue_ms", "prefill_ms", "handoff_ms", "decode_ms", "handoff_gb_per_s")
