"""Learns the host's constants on the rows of tensor parallelism 2 and 4."""

from collections.abc import Sequence
from dataclasses import replace

from services.planner.silicon import Point
from services.worker.engine.sim.step_times import Host
from tests.bench.planner.points import h100_rows
from tests.bench.planner.predict import KV_OUT_MS, mean_errors, predict

LEARNT_ON = (2, 4)
FRONT_MS = 10.0
"""Given and not learnt: these rows hardly tell. HTTP, tokens, and two ways between processes."""
STEPS = {"step_ms": (0.4, 0.1), "sequence_us": (10.0, 2.0), "prompt_factor": (0.05, 0.01)}
"""Coarse and fine."""


def main() -> None:
    """Print each improvement, and the last constants."""
    rows = [p for p in h100_rows() if p.tensor_parallel in LEARNT_ON and p.ttft_ms <= KV_OUT_MS]
    host = Host(step_ms=1.7, sequence_us=0.0, front_ms=FRONT_MS, prompt_factor=1.0)
    best = loss(rows, host)
    for size in (0, 1):
        improves = True
        while improves:
            improves = False
            for name, steps in STEPS.items():
                for sign in (1, -1):
                    other = replace(host, **{name: max(0.0, getattr(host, name) + sign * steps[size])})
                    found = loss(rows, other)
                    if found < best:
                        host, best, improves = other, found, True
                        print(f"{best:.4f} {host}", flush=True)


def loss(rows: Sequence[Point], host: Host) -> float:
    """Mean relative errors of TTFT and TPOT together."""
    return sum(mean_errors([predict(point, host=host, seeds=(1, 2)) for point in rows]))
