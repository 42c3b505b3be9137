"""Queue depth, workers and attainment over time, one column per tier."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.scaling.shape import SLOWER
from tests.bench.scaling.verdict import keeps

PROMISED = {"prefill": ("ttft_ms",), "decode": ("tpot_ms",)}
"""What each tier answers for."""
BIN_S = 5.0


def draw(file: Path, title: str, records: Sequence[dict[str, Any]], seen: Sequence[dict[str, Any]]) -> None:
    """Write a PNG; times are seconds of life since the first request."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    zero_s = min(r["began_s"] for r in records)
    figure, axes = pyplot.subplots(3, 2, figsize=(11, 8), sharex=True, layout="constrained")
    figure.suptitle(title)
    for column, tier in enumerate(PROMISED):
        moments = [m for m in seen if m["tier"] == tier]
        times = [(m["at_s"] - zero_s) / SLOWER for m in moments]
        queue, workers, attained = (axes[row][column] for row in range(3))
        queue.set_title(tier)
        queue.plot(times, [m["queued_requests"] for m in moments], color="tab:red")
        workers.step(times, [m["serving"] for m in moments], where="post", label="serve")
        workers.step(times, [m["desired"] for m in moments], where="post", linestyle="--", label="wanted")
        workers.step(times, [m["idle"] for m in moments], where="post", linestyle=":", label="idle spares")
        workers.legend(loc="upper right")
        begins, shares = _attainment(records, PROMISED[tier], zero_s)
        attained.plot(begins, shares, color="tab:green")
        attained.axhline(0.95, color="grey", linewidth=0.8)
        attained.set_ylim(-0.02, 1.05)
        attained.set_xlabel("seconds")
        words = ("requests waiting", "workers", f"share with {PROMISED[tier][0][:4].upper()} as promised")
        for axis, label in zip((queue, workers, attained), words, strict=True):
            axis.set_ylabel(label)
    figure.savefig(file, dpi=90)
    pyplot.close(figure)


def _attainment(
    records: Sequence[dict[str, Any]], names: tuple[str, ...], zero_s: float
) -> tuple[list[float], list[float]]:
    bins: dict[int, list[bool]] = {}
    for record in records:
        number = int((record["began_s"] - zero_s) / SLOWER / BIN_S)
        bins.setdefault(number, []).append(keeps(record, *names))
    numbers = sorted(bins)
    return [n * BIN_S for n in numbers], [sum(bins[n]) / len(bins[n]) for n in numbers]
