"""Whole meshes of real processes, through the same `pdmesh up` that people run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.cli.mesh_client import is_ready
from services.common.credentials import MeshSettings, Security
from tests.tidy.source import ROOT

START_S_MAX = 60.0
STOP_S_MAX = 40.0
POLL_S = 0.02


class MeshFailed(Exception):
    """The mesh did not do what was waited for; the message ends with its logs."""


class Mesh:
    """One running `pdmesh up`. Use as a context manager."""

    def __init__(self, model: Path, directory: Path, *flags: str, start_s_max: float = START_S_MAX) -> None:
        self._start_s_max = start_s_max
        self._ready_file = directory / "ready.json"
        self._log_dir = directory / "logs"
        self._output = directory / "up.log"
        self._command = [
            *(sys.executable, "-m", "services.cli", "up", "--model", str(model), "--port", "0"),
            *("--ready-file", str(self._ready_file), "--log-dir", str(self._log_dir), *flags),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Mesh":
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=output, stderr=output)
        try:
            self.wait_until(self._ready_file.exists, "ready file", self._start_s_max)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()  # its children die with it
        self.process.wait()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The `pdmesh up` process."""
        assert self._process is not None
        return self._process

    @property
    def facts(self) -> dict[str, Any]:
        """What the ready file says at the moment."""
        facts: dict[str, Any] = json.loads(self._ready_file.read_text())
        return facts

    @property
    def ready_file(self) -> Path:
        """Where the mesh says where it is."""
        return self._ready_file

    @property
    def security(self) -> Security:
        """What its processes show each other."""
        return MeshSettings(secret_file=self.facts["secret_file"]).security()

    @property
    def url(self) -> str:
        """The REST API."""
        return str(self.facts["url"])

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, of those that serve."""
        return dict(self.facts["pids"])

    @property
    def said(self) -> str:
        """What `pdmesh up` has printed."""
        return self._output.read_text()

    @property
    def is_ready(self) -> bool:
        """Whether the mesh serves and says where."""
        return self._ready_file.exists()

    def loading(self, worker_id: str) -> int | None:
        """The process id of a worker, whether it serves already or not."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        named = f"--worker-id\0{worker_id}\0".encode()
        return next((int(pid) for pid in children.split() if named in _command_line(pid)), None)

    def send(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to one process of the mesh; its process id."""
        pid = self.pids[name]
        os.kill(pid, number)
        return pid

    def wait_restarted(self, name: str, old_pid: int, timeout_s: float = START_S_MAX) -> None:
        """Until another process serves under this name."""
        self.wait_until(lambda: self.pids.get(name, old_pid) != old_pid, f"restart of {name}", timeout_s)

    def wait_serving(self, timeout_s: float = START_S_MAX) -> None:
        """Until the gateway, which may have just come back, says that it serves a model."""
        self.wait_until(lambda: is_ready(self.url), "service", timeout_s)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the mesh with a signal; its exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            raise MeshFailed(f"no end {STOP_S_MAX} s after signal {number}\n{self.logs()}") from None

    def wait_until(self, is_met: Any, what: str, timeout_s: float) -> None:
        """Poll a condition; raises `MeshFailed` when the mesh ends or the time is over."""
        end = time.monotonic() + timeout_s
        while not is_met():
            if self.process.poll() is not None:
                raise MeshFailed(f"ended with {self.process.returncode} before {what}\n{self.logs()}")
            if time.monotonic() > end:
                raise MeshFailed(f"no {what} within {timeout_s} s\n{self.logs()}")
            time.sleep(POLL_S)

    def logs(self, lines: int = 30) -> str:
        """The last lines of every process."""
        files = [self._output, *sorted(self._log_dir.glob("*.log"))]
        tails = [
            (file.stem, file.read_text(errors="replace").splitlines()[-lines:])
            for file in files
            if file.exists()
        ]
        return "\n".join(f"{name} | {line[:500]}" for name, tail in tails for line in tail)


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, user and system, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run_cli(arguments: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    """One `pdmesh` command to its end."""
    command = [sys.executable, "-m", "services.cli", *arguments]
    options = {"timeout": STOP_S_MAX, **options}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **options)
