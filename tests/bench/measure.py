"""One measurement: a load against a server, and what each process of the server spent meanwhile."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mesh.harness import Mesh, cpu_s, rss_bytes
from tests.tidy.source import ROOT

LOAD_S_MAX = 300
IDLE_S = 5.0


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    streams: int
    step_ms: float
    prompt_tokens: int
    output_tokens: int
    rounds: int
    decode_workers: int = 1
    """With one, all streams step together; with more, each worker's step by themselves."""
    is_paced: bool = True
    """Whether the engines keep a pace that leaves the cores room; else they are as fast as they can."""
    is_edge: bool = False
    """Whether gateway and router are one process."""
    seed: int = 0
    """Of the prompts; two loads on one mesh need two."""
    asks_receipts: bool = False

    @property
    def answer_s(self) -> float:
        """How long one answer takes at the engine."""
        return self.step_ms * self.output_tokens / 1e3


def drive(url: str, model: str, case: Case) -> dict[str, Any]:
    """Run the load generator as a process; what the clients saw."""
    flags = {
        "--model": model,
        "--streams": case.streams,
        "--rounds": case.rounds,
        "--prompt-tokens": case.prompt_tokens,
        "--output-tokens": case.output_tokens,
        "--spread-s": case.answer_s,
        "--seed": case.seed,
    }
    command = [
        sys.executable,
        "-m",
        "tests.bench.load",
        url,
        *(str(part) for pair in flags.items() for part in pair),
        *(["--receipts"] if case.asks_receipts else []),
    ]
    result = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=LOAD_S_MAX, check=True
    )
    outcome: dict[str, Any] = json.loads(result.stdout)
    return outcome


def spending(pids: Mapping[str, int], url: str, model: str, case: Case) -> dict[str, Any]:
    """The load's outcome, and per process CPU-seconds per million tokens, CPU-ms per request, RSS."""
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    outcome = drive(url, model, case)
    spent = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
    return outcome | {
        "cpu_s_per_million_tokens": {n: s / max(1, outcome["tokens"]) * 1e6 for n, s in spent.items()},
        "cpu_ms_per_request": {n: s / max(1, outcome["requests"]) * 1e3 for n, s in spent.items()},
        "rss_mib": {name: rss_bytes(pid) / 2**20 for name, pid in pids.items()},
    }


def idle(pids: Mapping[str, int]) -> dict[str, float]:
    """Per process, the share of a core that it uses while nobody asks anything, in percent."""
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    time.sleep(IDLE_S)
    return {name: (cpu_s(pid) - before[name]) / IDLE_S * 100.0 for name, pid in pids.items()}


@contextmanager
def sim_mesh(model_dir: Path, directory: Path, case: Case) -> Iterator[Mesh]:
    """One prefill and one decode worker whose engine costs nothing but its step."""
    free = [
        f"{key}=0"
        for key in ("sequence-us", "prefill-tokens-per-s", "handoff-gb-per-s", "handoff-latency-ms")
    ]
    both = [*free, "max-num-seqs=1024", "kv-blocks=131072"]
    flags = [*(("--engine-arg", pair) for pair in both)]
    flags += [("--prefill-engine-arg", "step-ms=0"), ("--decode-engine-arg", f"step-ms={case.step_ms}")]
    flags += [("--decode", str(case.decode_workers))]
    command = ["--engine", "sim", "--log-level", "warning", *(part for flag in flags for part in flag)]
    command += ["--edge"] if case.is_edge else []
    with Mesh(model_dir, directory, *command) as mesh:
        yield mesh


@contextmanager
def reference_server(case: Case) -> Iterator[tuple[str, int]]:
    """The reference process: its URL and process id."""
    command = [sys.executable, "-m", "tests.bench.reference", "--step-ms", str(case.step_ms)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid
        finally:
            process.terminate()
