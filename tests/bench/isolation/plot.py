"""Goodput, TPOT, gaps and TTFT over the rate, one line per shape."""

from pathlib import Path
from typing import Any

PANELS = (
    ("good requests per second", "goodput_per_s", None),
    ("TPOT, ms", "tpot_ms_p50", "tpot_ms_p99"),
    ("gap between pieces, ms", "gap_ms_p50", "gap_ms_p99"),
    ("TTFT, ms", "ttft_ms_p50", "ttft_ms_p99"),
    ("TTFT of chats, ms", "chat_ttft_ms_p50", "chat_ttft_ms_p99"),
    ("TTFT of long prompts, ms", "long_ttft_ms_p50", "long_ttft_ms_p99"),
)
"""Title, solid line, dashed line."""


def draw(file: Path, told: dict[str, Any]) -> None:
    """Write a PNG; times have logarithmic axes."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(13, 7), layout="constrained")
    figure.suptitle("Real vLLM, two cores, one worker on each; solid p50, dashed p99")
    rates = told["rates"]
    for axis, (title, solid, dashed) in zip(axes.flat, PANELS, strict=True):
        for number, (shape, found) in enumerate(told["shapes"].items()):
            rows = [found["rates"][f"{rate:g}"] for rate in rates]
            axis.plot(rates, [row[solid] for row in rows], "o-", color=f"C{number}", label=shape)
            if dashed is not None:
                axis.plot(rates, [row[dashed] for row in rows], "o--", color=f"C{number}", markersize=3)
                axis.set_yscale("log")
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("requests per second")
    axes.flat[0].plot(rates, rates, color="grey", linewidth=0.8, label="all that arrive")
    axes.flat[0].legend(fontsize=8)
    figure.savefig(file, dpi=100)
    pyplot.close(figure)
