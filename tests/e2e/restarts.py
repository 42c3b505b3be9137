"""Killing and restarting real vLLM workers under traffic, and looking for scars.

`python -m tests.e2e.restarts [TIMES]` does it so many times (20) to each kind of victim, which takes a while.
"""

import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.references import Reference, complete, prompt_of
from tests.mesh.hosts import Process
from tests.mesh.two_hosts import Answer, Hosts, two_hosts
from tools.tiny_model import build

VICTIMS = ("prefill", "decode", "engine of prefill", "engine of decode")
"""Of two decode workers; requests go on at the other."""
ROUTER = "10.77.0.1:9000"
FLAGS = {"prefill": ("--cores", "0"), "decode": ("--cores", "1")}
USABLE_S_MAX = 60.0
START_S_MAX = 300.0
PAUSE_S = 0.05
LENGTHS = (127, 128, 129, 200, 257, 400)


@dataclass
class Restart:
    """One kill and what came of it."""

    victim: str
    ready_s: float
    """From the kill until the worker was ready again."""
    usable_s: float
    """From then until an answer had come whose KV was handed over."""


@dataclass
class Traffic:
    """Callers that ask one after another until the block ends; each answer is compared with its reference."""

    hosts: Hosts
    reference: Reference
    callers: int = 2
    answers: list[Answer] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __enter__(self) -> "Traffic":
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(self.callers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        prompts = [prompt for prompt in self.reference if len(prompt) > 100][number :: self.callers]
        asked = 0
        while not self._over.is_set():
            prompt = prompts[asked % len(prompts)]
            asked += 1
            expected = self.reference[prompt]
            answer = self.hosts.ask(list(prompt), len(expected))
            self.answers.append(answer)
            if answer.status != 200 or "error" in answer.body or answer.token_ids != expected:
                self.wrong.append(f"{answer.status} {answer.body}")
            self._over.wait(PAUSE_S)


def restart(hosts: Hosts, victim: str, router: str) -> Restart:
    """Kill one worker, or its engine's process alone, and start it again where it was."""
    name = victim.rpartition(" ")[2]
    process = hosts.processes[name]
    began = time.monotonic()
    if victim == name:
        process.kill()
    else:
        os.kill(engine_of(process), signal.SIGKILL)
        process.wait_ended()
    hosts.start_worker(name, router).wait_ready(hosts.start_s_max)
    ready = time.monotonic()
    wait_usable(hosts)
    return Restart(victim, ready - began, time.monotonic() - ready)


def engine_of(process: Process) -> int:
    """The process id of a worker's engine: its child with most memory."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(max(children, key=lambda child: int(Path(f"/proc/{child}/statm").read_text().split()[1])))


def wait_usable(hosts: Hosts) -> None:
    """Until an answer's KV was handed over; each prompt is another, so that nobody has it."""
    end = time.monotonic() + USABLE_S_MAX
    while time.monotonic() < end:
        prompt = prompt_of(200, seed=time.monotonic_ns())
        if hosts.ask(prompt, 2).receipt["path"] == "disaggregated":
            return
    raise AssertionError(f"no handoff within {USABLE_S_MAX} s of the restart")


def main() -> int:
    """Entry point; exit code 1 if any answer was wrong."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as scratch:
        model = build(Path(scratch) / "tiny")
        reference = complete(model, [prompt_of(length, seed=77) for length in LENGTHS], 16)
        with two_hosts(model, Path(scratch)) as hosts:
            hosts.engine_flags = ("--dtype", "float32", "--max-model-len", "4096")
            hosts.worker_flags, hosts.start_s_max = FLAGS, START_S_MAX
            hosts.serve("10.77.0.1", ROUTER, ROUTER)
            hosts.start_worker("decode-2", ROUTER).wait_ready(START_S_MAX)
            with Traffic(hosts, reference) as traffic:
                for victim in VICTIMS * times:
                    print(restart(hosts, victim, ROUTER), flush=True)
            paths = Counter((a.status, a.body.get("pdmesh", {}).get("path_reason")) for a in traffic.answers)
            print(f"{len(traffic.answers)} answers, {len(traffic.wrong)} wrong", traffic.wrong[:3], paths)
            print(hosts.back.cli("doctor", "--router", ROUTER).stdout)
    return 1 if traffic.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
