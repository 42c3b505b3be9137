"""What a million tokens cost at each, one panel per case."""

from pathlib import Path
from typing import Any

from tests.bench.peers.report import DIRECT, OWN, cost, names, number, row_of

LEAST = 5.0
"""Where the axis begins; a logarithmic one has no zero."""


def draw(file: Path, told: dict[str, Any]) -> None:
    """Write a PNG; the axis is logarithmic, because the dearest is twenty times the cheapest."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    cases = [case["name"] for case in told["cases"]]
    figure, axes = pyplot.subplots(1, len(cases), figsize=(3.6 * len(cases), 3.6), layout="constrained")
    figure.suptitle("CPU-seconds per million tokens between client and engine, whole process trees")
    for axis, case in zip(axes, cases, strict=True):
        found = [(who, cost(row_of(told, who, case))) for who in names(told) if who != DIRECT]
        bars = sorted(((value, who) for who, value in found if value is not None), reverse=True)
        colours = ["tab:green" if who in OWN else "tab:grey" for _, who in bars]
        drawn = axis.barh([who for _, who in bars], [value for value, _ in bars], color=colours)
        axis.bar_label(drawn, [number(value) for value, _ in bars], padding=2, fontsize=8)
        axis.set_xscale("log")
        axis.set_xlim(LEAST, 4 * bars[0][0])
        axis.set_title(f"{case.replace(' ', ' streams, ', 1)}", fontsize=10)
    figure.savefig(file, dpi=100)
    pyplot.close(figure)
