"""The figures as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.report import kind, own

SIZE_INCHES = (9.0, 4.2)
PARTS = ("gateway", "router", "edge", "workers", "reference")


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """CPU per token of each process, a group of bars for each case."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=SIZE_INCHES, layout="constrained")
    width = 0.8 / len(PARTS)
    for nth, part in enumerate(PARTS):
        places = [number + nth * width for number in range(len(rows))]
        bars = axes.bar(places, [_cpu(row, part) for row in rows], width, label=part)
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.set_xticks([number + 0.4 - width / 2 for number in range(len(rows))], [_name(row) for row in rows])
    axes.set_ylabel("CPU-seconds per million tokens")
    axes.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _cpu(row: Mapping[str, Any], part: str) -> float:
    if part == "reference":
        return float(row["reference"]["cpu_s_per_million_tokens"]["reference"])
    cpu = row["mesh"]["cpu_s_per_million_tokens"]
    if part == "workers":
        return float(sum(cpu.values()) - own(cpu))
    return float(cpu.get(part, 0.0))


def _name(row: Mapping[str, Any]) -> str:
    case = row["case"]
    return f"{case['streams']} streams\n{kind(case)}"
