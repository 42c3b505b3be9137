"""Flame graphs of gateway and router under load: `make bench-profile`.

A mesh as in `make bench`, sampled by py-spy while 64 paced streams run. Only samples that hold the
interpreter's lock count: a thread that sleeps in the kernel is no cost.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.measure import Case, drive, sim_mesh
from tests.mesh import model

PROFILES = Path(__file__).parent / "profiles"
PROCESSES = ("gateway", "router")
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
        run_dir = Path(tempfile.mkdtemp(dir=scratch))
        with sim_mesh(model_dir, run_dir, CASE) as mesh, ThreadPoolExecutor(1) as clients:
            asked = clients.submit(drive, mesh.url, model_dir.name, CASE)
            time.sleep(SETTLE_S)
            spies = [record(mesh.pids[name], out / f"{name}.svg") for name in PROCESSES]
            codes = [spy.wait() for spy in spies]
            is_whole = not asked.result()["failed"]
    return int(any(codes) or not is_whole)


if __name__ == "__main__":
    sys.exit(main())
