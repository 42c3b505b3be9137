"""What gateway and router cost: `make bench`.

A mesh of real processes with the sim engine, load from a process of its own, CPU time from /proc, next to a
reference server measured in the same run on the same machine. Writes tests/bench/results/mesh.{json,md}.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench.measure import Case, drive, idle, reference_server, sim_mesh, spending
from tests.bench.plot import draw
from tests.bench.report import table
from tests.mesh import model

RESULTS = Path(__file__).parent / "results"
CASES = (
    Case(streams=64, step_ms=12.8, prompt_tokens=500, output_tokens=200, rounds=5),
    Case(streams=256, step_ms=51.2, prompt_tokens=500, output_tokens=200, rounds=2),
    Case(streams=256, step_ms=51.2, prompt_tokens=500, output_tokens=200, rounds=2, decode_workers=4),
    Case(streams=800, step_ms=160.0, prompt_tokens=500, output_tokens=200, rounds=1),
    Case(streams=256, step_ms=1.0, prompt_tokens=500, output_tokens=200, rounds=3, is_paced=False),
)
"""All but the last at 5 000 tokens a second. Each with gateway and router as two processes, and as one."""
QUICK = (Case(streams=16, step_ms=20.0, prompt_tokens=100, output_tokens=20, rounds=1),)


def measure(case: Case, scratch: Path) -> dict[str, Any]:
    """One case: mesh, bare requests and requests with receipts against the same mesh, reference."""
    model_dir = model.build(scratch / "words")
    run_dir = Path(tempfile.mkdtemp(dir=scratch))
    bare = Case(16, 0.0, case.prompt_tokens, 1, rounds=50, seed=1)
    with sim_mesh(model_dir, run_dir, case) as mesh:
        at_rest = idle(mesh.pids)
        on_mesh = spending(mesh.pids, mesh.url, model_dir.name, case)
        on_bare = spending(mesh.pids, mesh.url, model_dir.name, bare)
        by_parts = drive(mesh.url, model_dir.name, replace(case, rounds=1, seed=2, asks_receipts=True))
    with reference_server(case) as (url, pid):
        on_reference = spending({"reference": pid}, url, model_dir.name, case)
    return {
        "case": vars(case),
        "idle_cpu_percent": at_rest,
        "mesh": on_mesh,
        "bare_requests": on_bare,
        "with_receipts": by_parts,
        "reference": on_reference,
    }


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    return {
        "cpu": cpu.partition(":")[2].strip(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def main() -> int:
    """Entry point; exit code 1 when a request failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small case, results to standard output only")
    is_quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as scratch:
        cases = QUICK if is_quick else CASES
        both = [replace(case, is_edge=is_edge) for case in cases for is_edge in (False, True)]
        rows = [measure(case, Path(scratch)) for case in both]
    page = table(machine(), rows)
    print(page)
    if not is_quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "mesh.json").write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")
        (RESULTS / "mesh.md").write_text(page)
        draw(rows, RESULTS / "mesh.png")
    return 1 if any(row["mesh"]["failed"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
