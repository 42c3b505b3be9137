"""Run the experiments: `python -m tests.bench.scaling [burst] [fixed] [trace] [--brief]`.

burst  50 streams, then 200 for a minute, then 50, with autoscaling
fixed  the same without it, for a third of the time
trace  4 minutes of a trace of real arrivals, at 8 times their pace, with autoscaling

Writes tests/bench/results/scaling-NAME.{json,png}. Exit code 1 when a promise is broken that should hold,
or all hold without autoscaling, or a stream fails.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.scaling.plot import draw
from tests.bench.scaling.shape import ENVIRONMENT, PROMISE, SLOWER, Tiers, flags
from tests.bench.scaling.verdict import summary
from tests.bench.scaling.watch import watch
from tests.mesh import model
from tests.mesh.harness import Mesh
from tests.tidy.source import ROOT

RESULTS = ROOT / "tests" / "bench" / "results"
TRACE = ROOT / "tests" / "bench" / "traces" / "azure_conv_2023.csv"
START_S_MAX = 180.0
QUIET_S = 7.0 * SLOWER


@dataclass(frozen=True)
class Experiment:
    """One run: what asks, and under which rules."""

    title: str
    load: tuple[str, ...]
    autoscales: bool = True
    tiers: Tiers = Tiers()  # noqa: RUF009 - frozen
    counted_s: tuple[float, float] | None = None
    """Begin and end of what is judged, in seconds since the first request; all where not set."""


def experiments(*, brief: bool) -> dict[str, Experiment]:
    """All by name; brief ones only show that they run."""
    minute_s, third_s = (40.0, 40.0) if brief else (60.0 * SLOWER, 20.0 * SLOWER)
    trace = ("trace", "--file", str(TRACE), "--seconds", "60" if brief else "240", "--speed", "1")
    return {
        "burst": burst("50, 200, 50 streams, autoscaling", minute_s, autoscales=True),
        "fixed": burst("50, 200, 50 streams, one worker of each", third_s, autoscales=False),
        "trace": Experiment(
            "4 minutes of arrivals at Azure's conversation service (CC-BY 4.0), at 8 times their pace",
            trace,
            tiers=Tiers(most=6, spares=1),
        ),
    }


def burst(title: str, burst_s: float, *, autoscales: bool) -> Experiment:
    """50 streams, 200 for so long, which is what is judged, and 50."""
    phases = f"{QUIET_S:.0f}:50,{burst_s:.0f}:200,{QUIET_S:.0f}:50"
    return Experiment(
        title, ("burst", "--phases", phases), autoscales, counted_s=(QUIET_S, QUIET_S + burst_s)
    )


def run(experiment: Experiment, scratch: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the clients saw, and what the router said meanwhile."""
    os.environ.update(ENVIRONMENT)
    words = model.build(scratch / "words")
    told = flags(experiment.tiers, autoscales=experiment.autoscales)
    with Mesh(words, scratch, *told, start_s_max=START_S_MAX) as mesh:
        command = [sys.executable, "-m", "tests.bench.scaling.load", mesh.url, "--model", words.name]
        router, seen = str(mesh.facts["urls"]["router"]), []
        command += experiment.load
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as load:

            def follow() -> None:
                seen.extend(asyncio.run(watch(router, mesh.security, lambda: load.poll() is not None)))

            thread = threading.Thread(target=follow)
            thread.start()
            assert load.stdout is not None
            records = [json.loads(line) for line in load.stdout]
        thread.join()
    return records, seen


def judged(experiment: Experiment, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The numbers of what counts, and failures of the whole run."""
    zero_s = min(r["began_s"] for r in records)
    begin_s, end_s = experiment.counted_s or (0.0, float("inf"))
    counted = [r for r in records if begin_s <= r["began_s"] - zero_s < end_s]
    whole = summary(records)
    return summary(counted) | {"failed_in_all": whole["failed"], "refused_in_all": whole["refused"]}


def is_as_promised(name: str, told: dict[str, Any]) -> bool:
    """A fixed mesh must break what an autoscaled one holds; nothing but refusals may fail."""
    holds = all(told["holds"].values())
    return told["failed_in_all"] == 0 and (name == "trace" or holds is (name == "burst"))


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="name")
    parser.add_argument("--brief", action="store_true", help="short runs, results to standard output only")
    asked = parser.parse_args()
    known = experiments(brief=asked.brief)
    is_well = True
    for name in asked.names or known:
        with tempfile.TemporaryDirectory() as scratch:
            records, seen = run(known[name], Path(scratch))
        told = judged(known[name], records)
        print(name, json.dumps(told, indent=2), flush=True)
        is_well &= is_as_promised(name, told)
        if not asked.brief:
            keep(name, known[name], told, records, seen)
    return 0 if is_well or asked.brief else 1


def keep(name: str, experiment: Experiment, told: dict[str, Any], records: Any, seen: Any) -> None:
    """Write figures and plot."""
    content = {
        "title": experiment.title,
        "slower_than_life": SLOWER,
        "promise": vars(PROMISE),
        "figures_of_life": told,
        "workers_most": {
            tier: max((m["serving"] for m in seen if m["tier"] == tier), default=0)
            for tier in ("prefill", "decode")
        },
    }
    (RESULTS / f"scaling-{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    draw(RESULTS / f"scaling-{name}.png", experiment.title, records, seen)


if __name__ == "__main__":
    sys.exit(main())
