"""Flame graphs of gateway, router and edge under load: `make bench-profile`.

Meshes as in `make bench`, sampled by py-spy while 64 paced streams run. Only samples that hold the
interpreter's lock count: a thread that sleeps in the kernel is no cost.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tests.bench.measure import Case, drive, sim_mesh
from tests.mesh import model

PROFILES = Path(__file__).parent / "profiles"
PROCESSES = {False: ("gateway", "router"), True: ("edge",)}
"""What there is to sample, by whether gateway and router are one process."""
SAMPLES_PER_S = 500
SETTLE_S = 4.0
SECONDS = 8
CASE = Case(streams=64, step_ms=12.8, prompt_tokens=500, output_tokens=200, rounds=6)


def record(pid: int, file: Path) -> "subprocess.Popen[bytes]":
    """Begin to sample a process into an SVG."""
    flags = ["--gil", "--rate", str(SAMPLES_PER_S), "--duration", str(SECONDS), "--format", "flamegraph"]
    # Its title is its command line: the file is named from where it lies.
    command = ["py-spy", "record", "--pid", str(pid), *flags, "--output", file.name]
    return subprocess.Popen(command, cwd=file.parent, stdout=subprocess.DEVNULL)


def main() -> int:
    """Entry point; exit code 1 when a profile could not be taken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=PROFILES)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        model_dir = model.build(Path(scratch) / "words")
        is_whole = [sample(replace(CASE, is_edge=is_edge), model_dir, out) for is_edge in PROCESSES]
    return int(not all(is_whole))


def sample(case: Case, model_dir: Path, out: Path) -> bool:
    """Load one mesh and write a profile of each process; False when one failed, or a request."""
    run_dir = Path(tempfile.mkdtemp(dir=model_dir.parent))
    with sim_mesh(model_dir, run_dir, case) as mesh, ThreadPoolExecutor(1) as clients:
        asked = clients.submit(drive, mesh.url, model_dir.name, case)
        time.sleep(SETTLE_S)
        spies = [record(mesh.pids[name], out / f"{name}.svg") for name in PROCESSES[case.is_edge]]
        codes = [spy.wait() for spy in spies]
        return not any(codes) and not asked.result()["failed"]


if __name__ == "__main__":
    sys.exit(main())
