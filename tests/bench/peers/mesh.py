"""pdmesh with its simulated engine: two workers, and router and gateway in two processes or one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.peers.peer import LOCAL
from tests.tidy.source import ROOT

STOP_S_MAX = 20.0
FREE = ("sequence-us", "prefill-tokens-per-s", "handoff-gb-per-s", "handoff-latency-ms")
"""What costs the engine nothing here."""
SIZES = ("max-num-seqs=512", "kv-blocks=65536")
PLAIN, SPREAD = "services.cli", "tests.bench.peers.spread"


@dataclass(frozen=True)
class Running:
    """A mesh that serves."""

    url: str
    pids: dict[str, int]


@contextmanager
def running_mesh(
    model: Path, logs: Path, step_ms: float, *, lock_step: bool, is_edge: bool
) -> Iterator[Running]:
    """All processes until the block ends."""
    with ExitStack() as stack:
        pids = {}

        def start(name: str, *flags: str, module: str = PLAIN) -> dict[str, Any]:
            command = [sys.executable, "-m", module, "serve", name, "--port", "0", "--log-level", "warning"]
            process, facts = stack.enter_context(
                process_that_serves([*command, *flags], logs / f"{name}.log")
            )
            pids[name] = process.pid
            return facts

        public = ("--model", str(model), "--host", LOCAL)
        if is_edge:
            facts = start("edge", *public, "--", "--port", "0")
            url, router = facts["url"], facts["router"]
        else:
            router = start("router")["url"]
        for name, own_step_ms in (("prefill", 0.0), ("decode", step_ms)):
            spread = name == "decode" and not lock_step
            start(name, *worker_flags(model, router, own_step_ms), module=SPREAD if spread else PLAIN)
        if not is_edge:
            url = start("gateway", *public, "--router", router)["url"]
        yield Running(url, pids)


def worker_flags(model: Path, router: str, step_ms: float) -> list[str]:
    """A worker whose engine costs nothing but its step."""
    arguments = [*(f"{name}=0" for name in FREE), *SIZES, f"step-ms={step_ms}"]
    flags = ["--model", str(model), "--routers", router, "--engine", "sim"]
    return flags + [part for argument in arguments for part in ("--engine-arg", argument)]


@contextmanager
def process_that_serves(
    command: list[str], log: Path
) -> Iterator[tuple["subprocess.Popen[bytes]", dict[str, Any]]]:
    """The process and what it says of itself once it serves; it is ended with the block."""
    with log.open("wb") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{command[2:5]} did not start: {log.read_text()[-500:]}")
        yield process, json.loads(line)["ready"]
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End one process, by force if it does not want to."""
    process.terminate()
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
