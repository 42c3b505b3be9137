"""Nothing waits for who reads its output: not a process, not its engine's processes, not a whole mesh."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.mesh import model
from tests.mesh.harness import Mesh
from tests.tidy.source import ROOT

LINES, PAD = 6_000, "x" * 500
WRITERS = {
    "print": "for n in range(LINES): print(n, PAD)",
    "standard error": "for n in range(LINES): print(n, PAD, file=sys.stderr)",
    "logging": "for n in range(LINES): logging.getLogger('any').warning('%d %s', n, PAD)",
    "a library in C": "for n in range(LINES): os.write(2, f'{n} {PAD}\\n'.encode())",
    "an engine's own logger": """
logger = logging.getLogger('vllm')
logger.propagate = False
logger.addHandler(logging.StreamHandler(sys.stdout))
for n in range(LINES): logger.warning('%d %s', n, PAD)""",
    "another process": """
subprocess.run([sys.executable, '-c', f'for n in range({LINES}): print(n, {PAD!r})'])""",
    "a forked process": """
if (child := os.fork()) == 0:
    for n in range(LINES): print(n, PAD)
    os._exit(0)
os.waitpid(child, 0)""",
}
PREPARED = f"""
import logging, os, subprocess, sys
from functools import partial
from services.common.telemetry import configure_logging, dropped_line, relay_output
LINES, PAD = {LINES}, "{PAD}"
waiting = relay_output(partial(dropped_line, "gateway"))
configure_logging("gateway")
"""
REPORTED = """
with open(sys.argv[1], "w") as done:
    done.write("done")
sys.stdin.read()
print("last words")
"""
WAIT_S = 60


@pytest.mark.parametrize("writer", WRITERS)
def test_a_process_goes_on_while_nothing_reads_its_output(writer: str, tmp_path: Path) -> None:
    done = tmp_path / "done"
    os.mkfifo(done)
    script = PREPARED + WRITERS[writer] + REPORTED
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(done)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(done.read_text).result(WAIT_S) == "done"
        said, _ = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
        process.wait()
    lines = said.splitlines()
    notices = [line for line in lines if "lines of output were dropped" in line]
    lost = sum(int(json.loads(notice)["message"].split()[0]) for notice in notices)
    assert lines[-1] == "last words"
    assert lost + sum(PAD in line for line in lines) == LINES


FLOOD = 400
"""Requests whose log lines are several times what a pipe holds."""


@pytest.fixture
def own_mesh(tmp_path: Path) -> Iterator[Mesh]:
    """A mesh whose output goes into a pipe that is read only at its end."""
    flags = ("--engine", "sim", "--engine-arg", "step-ms=1")
    mesh = UnreadMesh(model.build(tmp_path / "words"), tmp_path, *flags)
    with mesh:
        yield mesh
        if mesh.process.poll() is None:
            mesh.process.send_signal(signal.SIGCONT)


class UnreadMesh(Mesh):
    """Its processes' lines go to standard output, as they do without --log-dir, and nothing reads there."""

    def __enter__(self) -> "UnreadMesh":
        at = self._command.index("--log-dir")
        del self._command[at : at + 2]
        reader, writer = os.pipe()
        self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=writer, stderr=writer)
        os.close(writer)
        self._reader = reader
        try:
            self.wait_until(self._ready_file.exists, "ready file", WAIT_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        os.close(self._reader)


def ask(url: str) -> int:
    """One short request; its status."""
    body = {"model": "words", "prompt": "a b c", "max_tokens": 2}
    request = Request(
        f"{url}/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urlopen(request, timeout=WAIT_S) as answer:
        return int(answer.status)


def flood(url: str) -> set[int]:
    """The statuses of many requests, a few at a time."""
    with ThreadPoolExecutor(8) as pool:
        return set(pool.map(ask, [url] * FLOOD))


def test_a_mesh_serves_while_nothing_reads_its_output(own_mesh: Mesh) -> None:
    assert flood(own_mesh.url) == {200}
    own_mesh.process.send_signal(signal.SIGSTOP)  # as Ctrl-Z does: its processes' reader reads no more
    assert flood(own_mesh.url) == {200}
    own_mesh.process.send_signal(signal.SIGCONT)
    assert own_mesh.stop() == 0
