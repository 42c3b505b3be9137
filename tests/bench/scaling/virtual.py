"""The same experiments through the real core in virtual time, which no busy machine disturbs.

python -m tests.bench.scaling.virtual [burst] [fixed] [trace]
    writes tests/bench/results/scaling-virtual-NAME.{json,png}
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from services.common.domain import FinishReason
from tests.bench.scaling.load import Arrival, read_trace
from tests.bench.scaling.plot import draw
from tests.bench.scaling.shape import SLOWER
from tests.bench.scaling.verdict import summary
from tests.sim.scaling.burst import QUIET_MS, RULES, play, play_trace
from tests.sim.scaling.mesh import VirtualMesh
from tests.tidy.source import ROOT

RESULTS = ROOT / "tests" / "bench" / "results"
TRACE = ROOT / "tests" / "bench" / "traces" / "azure_conv_2023.csv"
MINUTE_MS = 60_000.0
TRACE_S = 1_200.0


def records(mesh: VirtualMesh) -> Iterator[dict[str, Any]]:
    """As real clients would have written them, as much slower than life."""
    for asked in mesh.asked:
        whole = asked.end is FinishReason.LENGTH
        times = {name: getattr(asked, name) * SLOWER if whole else None for name in ("ttft_ms", "e2e_ms")}
        tpot_ms = asked.tpot_ms * SLOWER if whole and asked.tokens > 1 else None
        began_s = asked.began_ms / 1e3 * SLOWER
        ends = {"refused": not whole, "error": ""}
        yield {"began_s": began_s, "whole": whole, "tpot_ms": tpot_ms, **ends, **times}


def moments(mesh: VirtualMesh) -> list[dict[str, Any]]:
    """What was seen of the tiers, likewise."""
    return [{**moment, "at_s": float(moment["at_ms"]) / 1e3 * SLOWER} for moment in mesh.seen]


def keep(name: str, title: str, mesh: VirtualMesh, from_ms: float = 0.0, to_ms: float = float("inf")) -> None:
    """Write figures of what began in between, and a plot of all."""
    all_records = list(records(mesh))
    counted = [r for r in all_records if from_ms <= r["began_s"] * 1e3 / SLOWER < to_ms]
    told = {"title": title, "in_virtual_time": True, "figures": summary(counted)}
    tiers = ("prefill", "decode")
    told["workers_most"] = {t: max(m["serving"] for m in mesh.seen if m["tier"] == t) for t in tiers}
    told["changes"] = {t: _changes([m for m in mesh.seen if m["tier"] == t]) for t in tiers}
    print(json.dumps(told, indent=2), flush=True)
    (RESULTS / f"scaling-virtual-{name}.json").write_text(json.dumps(told, indent=2) + "\n")
    draw(RESULTS / f"scaling-virtual-{name}.png", title, all_records, moments(mesh))


def _changes(seen: list[dict[str, Any]]) -> int:
    """How often the number of workers wanted changed."""
    return sum(a["desired"] != b["desired"] for a, b in pairwise(seen))


def arrivals(file: Path) -> list[Arrival]:
    """The trace's requests."""
    return list(read_trace(file, TRACE_S, 1.0))


def burst() -> None:
    """The minute, and a minute of quiet in which the workers go again, with less patience than usual."""
    rules = replace(RULES, down_cooldown_ms=20_000.0, down_interval_ms=5_000.0)
    mesh = play(MINUTE_MS, autoscales=True, rules=rules, after_ms=MINUTE_MS)
    keep("burst", "50, 200, 50 streams, autoscaling, virtual time", mesh, QUIET_MS, QUIET_MS + MINUTE_MS)


def fixed() -> None:
    """A third of it without autoscaling."""
    mesh = play(MINUTE_MS / 3, autoscales=False)
    title = "50, 200, 50 streams, one worker of each, virtual time"
    keep("fixed", title, mesh, QUIET_MS, QUIET_MS + MINUTE_MS / 3)


def trace() -> None:
    """20 minutes of real arrivals."""
    mesh = play_trace([(a.at_s * 1e3, a.prompt_tokens, a.output_tokens) for a in arrivals(TRACE)])
    keep("trace", "20 minutes of Azure's conversation service (CC-BY 4.0), autoscaling, virtual time", mesh)


EXPERIMENTS = {"burst": burst, "fixed": fixed, "trace": trace}


def main() -> int:
    """Entry point; names of experiments as arguments, all without."""
    for name in sys.argv[1:] or EXPERIMENTS:
        EXPERIMENTS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
