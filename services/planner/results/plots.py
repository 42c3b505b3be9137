"""Plots of an outcome, each as PNG and SVG: the only place that knows matplotlib (in the extra `plan`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.common.errors import BadSetting, ComponentMissing
from services.planner.outcome import Outcome

FORMATS = ("png", "svg")
SIZE_INCHES = (9.0, 5.0)


def plot_outcome(outcome: Outcome, directory: Path) -> list[Path]:
    """Latency over time, queues and workers over time, distributions; returns the files."""
    plt = _pyplot()
    latency = plot_latency(outcome, directory / "latency")
    return [*latency, *_fleet(plt, outcome, directory), *_distributions(plt, outcome, directory)]


def plot_latency(outcome: Outcome, path: Path) -> list[Path]:
    """TTFT and time to the end over the time of the request; `path` has no ending."""
    plt = _pyplot()
    _make(path.parent)
    figure, axis = plt.subplots(figsize=SIZE_INCHES)
    rows = [(at_s, each) for at_s, each in outcome.series.rows() if each.ttft_ms.count]
    for name in ("ttft_ms", "e2e_ms"):
        for quantile in (0.5, 0.95):
            points = [(at_s, getattr(each, name).quantile(quantile)) for at_s, each in rows]
            if points:
                label = f"{name.removesuffix('_ms').upper()} p{quantile * 100:g}"
                axis.plot(*zip(*points, strict=True), label=label)
    axis.set(xlabel="seconds", ylabel="milliseconds", title="By the time of the request", yscale="log")
    axis.legend()
    return _save(plt, figure, path)


def plot_scatter(
    points: Sequence[tuple[float, float, str, bool]], axes: tuple[str, str], title: str, path: Path
) -> list[Path]:
    """Points by x, y and name, those on the front filled; `path` has no ending."""
    plt = _pyplot()
    _make(path.parent)
    figure, axis = plt.subplots(figsize=SIZE_INCHES)
    for x, y, name, is_front in points:
        axis.plot(x, y, "o", color="tab:blue", fillstyle="full" if is_front else "none")
        if is_front:
            axis.annotate(name, (x, y), fontsize=8, xytext=(4, 4), textcoords="offset points")
    axis.set(xlabel=axes[0], ylabel=axes[1], title=title)
    return _save(plt, figure, path)


def plot_predictions(
    rows: Sequence[tuple[float, float, str]], title: str, unit: str, path: Path
) -> list[Path]:
    """Predicted over measured values by group, on equal logarithmic axes."""
    plt = _pyplot()
    _make(path.parent)
    figure, axis = plt.subplots(figsize=(6, 6))
    for group in dict.fromkeys(group for _, _, group in rows):
        own = [(x, y) for x, y, each in rows if each == group]
        axis.loglog(*zip(*own, strict=True), "o", label=group, alpha=0.7)
    ends = [min(x for x, _, _ in rows), max(x for x, _, _ in rows)]
    axis.loglog(ends, ends, color="grey", linewidth=1)
    axis.set(xlabel=f"measured, {unit}", ylabel=f"predicted, {unit}", title=title)
    axis.legend()
    return _save(plt, figure, path)


def _fleet(plt: Any, outcome: Outcome, directory: Path) -> list[Path]:
    figure, (queues, workers) = plt.subplots(2, 1, figsize=SIZE_INCHES, sharex=True)
    rows = [(at_s, each.fleet) for at_s, each in outcome.series.rows() if each.fleet]
    for axis, what in ((queues, "queue"), (workers, "workers")):
        for role in ("prefill", "decode"):
            axis.step(
                [at_s for at_s, _ in rows],
                [fleet.get(f"{role}_{what}", 0) for _, fleet in rows],
                where="post",
                label=role,
            )
        axis.set_ylabel("requests that wait" if what == "queue" else what)
        axis.legend()
    workers.set_xlabel("seconds")
    return _save(plt, figure, directory / "fleet")


def _distributions(plt: Any, outcome: Outcome, directory: Path) -> list[Path]:
    figure, axis = plt.subplots(figsize=SIZE_INCHES)
    tally = outcome.tally
    named = (("TTFT", tally.ttft_ms), ("TPOT", tally.tpot_ms), ("end to end", tally.e2e_ms))
    for name, histogram in named:
        points = list(histogram.points())
        if points:
            axis.step(*zip(*points, strict=True), where="post", label=name)
    for bound in outcome.slo.bounds if outcome.slo else ():
        axis.axvline(bound.bound_ms, linestyle=":", color="grey")
    axis.set(xlabel="milliseconds", ylabel="share of requests", xscale="log", title="Distributions")
    axis.legend()
    return _save(plt, figure, directory / "distributions")


def _save(plt: Any, figure: Any, path: Path) -> list[Path]:
    figure.tight_layout()
    files = [path.with_suffix(f".{ending}") for ending in FORMATS]
    for file in files:
        figure.savefig(file, dpi=110, metadata={"Date": None} if file.suffix == ".svg" else {})
    plt.close(figure)
    return files


def _make(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(f"--out: {directory}: {error.strerror}") from None
    return directory


def _pyplot() -> Any:
    try:
        import matplotlib as mpl
    except ImportError:
        raise ComponentMissing("plots need matplotlib: pip install 'pdmesh[plan]'") from None
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "pdmesh"
    import matplotlib.pyplot as plt

    return plt
