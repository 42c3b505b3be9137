"""One line of the request log, as the columns of a table."""

import json
from collections.abc import Mapping
from typing import Any

COLUMNS = {
    "time": "TEXT",
    "request_id": "TEXT",
    "tenant": "TEXT",
    "model": "TEXT",
    "route": "TEXT",
    "status": "INTEGER",
    "error": "TEXT",
    "error_message": "TEXT",
    "finish_reason": "TEXT",
    "took_ms": "REAL",
    "ttft_ms": "REAL",
    "prompt_tokens": "INTEGER",
    "cached_tokens": "INTEGER",
    "generated_tokens": "INTEGER",
    "path": "TEXT",
    "path_reason": "TEXT",
    "prefill_worker": "TEXT",
    "decode_worker": "TEXT",
    "queue_ms": "REAL",
    "prefill_ms": "REAL",
    "handoff_ms": "REAL",
    "decode_ms": "REAL",
    "kv_size_bytes": "INTEGER",
    "handoff_gb_per_s": "REAL",
    "retries": "INTEGER",
}
"""Name and SQLite type; `time` is the end of the request, in UTC."""
_OF_RECEIPT = (
    *("cached_tokens", "path", "path_reason", "prefill_worker", "decode_worker", "queue_ms", "prefill_ms"),
    *("handoff_ms", "decode_ms", "kv_size_bytes", "handoff_gb_per_s", "retries"),
)
Record = Mapping[str, Any]


def record_of(line: str) -> dict[str, Any] | None:
    """The columns of a line; None for one that is none, as the last of a file that was cut."""
    try:
        told = json.loads(line)
    except ValueError:
        return None
    if not isinstance(told, dict) or not isinstance(told.get("time"), str):
        return None
    receipt = told.get("receipt")
    of_receipt = receipt if isinstance(receipt, dict) else {}
    found = {name: of_receipt.get(name) if name in _OF_RECEIPT else told.get(name) for name in COLUMNS}
    # The log's own field says which URL was called; a receipt's, which way the request took.
    return found | {"route": told.get("path"), "model": of_receipt.get("model") or told.get("model")}
