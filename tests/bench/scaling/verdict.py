"""What the clients saw, against what was promised. All times here are milliseconds of life."""

from collections.abc import Sequence
from typing import Any

from tests.bench.scaling.shape import PROMISE, SLOWER

Records = Sequence[dict[str, Any]]
MEASURES = ("ttft_ms", "tpot_ms", "e2e_ms")


def of_life(record: dict[str, Any], name: str) -> float | None:
    """A measured time as it would be at full speed."""
    value = record[name]
    return None if value is None else value / SLOWER


def quantile(records: Records, name: str, share: float = 0.95) -> float:
    """Of all requests; those that failed count as endless."""
    times = sorted(float("inf") if (t := of_life(r, name)) is None else t for r in records)
    return times[min(len(times) - 1, int(share * len(times)))] if times else 0.0


def keeps(record: dict[str, Any], *names: str) -> bool:
    """Whether a request got what was promised of these."""
    times = [(of_life(record, name), getattr(PROMISE, name)) for name in names]
    return bool(record["whole"]) and all(time is not None and time < most for time, most in times)


def summary(records: Records) -> dict[str, Any]:
    """The run in a few numbers."""
    p95 = {f"{name}_p95": round(quantile(records, name), 1) for name in MEASURES}
    p50 = {f"{name}_p50": round(quantile(records, name, 0.5), 1) for name in MEASURES}
    kept = {name: quantile(records, name) < getattr(PROMISE, name) for name in MEASURES}
    return {
        "requests": len(records),
        "failed": sum(not r["whole"] and not r["refused"] for r in records),
        "refused": sum(bool(r["refused"]) for r in records),
        "attained_share": round(sum(keeps(r, *MEASURES) for r in records) / max(1, len(records)), 4),
        **p50,
        **p95,
        "holds": kept,
        "errors": sorted({str(r["error"])[:100] for r in records if r["error"]})[:5],
    }
