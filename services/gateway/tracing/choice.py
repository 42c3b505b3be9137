"""Which requests are worth their spans: decided when they have ended, and all is known of them."""

from collections.abc import Callable, Mapping
from typing import Any

from services.gateway.tracing.settings import TracingSettings

SAMPLED = 0x01


def is_kept(line: Mapping[str, Any], settings: TracingSettings, draw: Callable[[], float]) -> bool:
    """Whether to keep a request: a failed, refused, retried or slow one, one that its caller traces, and a
    share of the rest. `draw` gives a number from 0 to 1.
    """
    receipt = line.get("receipt") or {}
    if line.get("error") or line["status"] >= 400 or receipt.get("retries"):
        return True
    if line["took_ms"] > settings.slow_ms or is_sampled(line.get("traceparent", "")):
        return True
    return draw() < settings.share


def is_sampled(traceparent: str) -> bool:
    """Whether the caller's own trace is kept, by W3C's flags; what is no traceparent is not."""
    try:
        return bool(int(traceparent.split("-")[3], 16) & SAMPLED)
    except (IndexError, ValueError):
        return False
