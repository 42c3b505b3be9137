"""The figures as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.report import kind, own

SIZE_INCHES = (12.0, 4.2)
WIDTH = 0.2
COLOURS = {
    "gateway": "tab:blue",
    "router": "tab:orange",
    "edge": "tab:green",
    "workers": "tab:red",
    "reference": "tab:purple",
}


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """CPU per token of each process, a group of bars for each case."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=SIZE_INCHES, layout="constrained")
    for part, colour in COLOURS.items():
        bars = [
            (number, order.index(part), row)
            for number, row in enumerate(rows)
            if part in (order := _parts(row))
        ]
        places = [number + nth * WIDTH for number, nth, _ in bars]
        drawn = axes.bar(places, [_cpu(row, part) for *_, row in bars], WIDTH, label=part, color=colour)
        axes.bar_label(drawn, fmt="%.0f", fontsize=8)
    middles = [number + (len(_parts(row)) - 1) * WIDTH / 2 for number, row in enumerate(rows)]
    axes.set_xticks(middles, [_name(row) for row in rows], fontsize=8)
    axes.set_ylabel("CPU-seconds per million tokens")
    axes.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _parts(row: Mapping[str, Any]) -> list[str]:
    """What a case has, in the order of the colours."""
    there = {*row["mesh"]["cpu_s_per_million_tokens"], "workers", "reference"}
    return [part for part in COLOURS if part in there]


def _cpu(row: Mapping[str, Any], part: str) -> float:
    if part == "reference":
        return float(row["reference"]["cpu_s_per_million_tokens"]["reference"])
    cpu = row["mesh"]["cpu_s_per_million_tokens"]
    if part == "workers":
        return float(sum(cpu.values()) - own(cpu))
    return float(cpu[part])


def _name(row: Mapping[str, Any]) -> str:
    case = row["case"]
    return f"{case['streams']} streams\n{kind(case)}".replace(", saturated", ",\nsaturated")
