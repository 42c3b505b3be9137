"""Hosts of a test's own: network namespaces, joined by virtual cables.

A host is a process that waits in a namespace; when it ends, or the test that holds its standard input, the
kernel takes namespace, addresses and cables away. Needs the right to make namespaces, and iproute2.
"""

import ctypes
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.tidy.source import ROOT

Result = TypeVar("Result")

CLONE_NEWNET = 0x40000000
ENGINES = ("VLLM_", "UCX_", "NIXL_")
READY_S_MAX = 60.0
STOP_S_MAX = 20.0
POLL_S = 0.02


def _bare() -> dict[str, str]:
    """Our variables without those of engines, which an engine that a test has run in this process leaves."""
    return {name: value for name, value in os.environ.items() if not name.startswith(ENGINES)}


class HostFailed(Exception):
    """A host, or a process on it, did not do what was waited for."""


class Process:
    """One `pdmesh serve` on a host."""

    def __init__(self, started: "subprocess.Popen[bytes]", output: Path) -> None:
        self._started, self._output = started, output

    @property
    def pid(self) -> int:
        """Its process id, the same on all hosts."""
        return self._started.pid

    @property
    def said(self) -> str:
        """All that it has printed and logged."""
        return self._output.read_text(errors="replace")

    def wait_for(self, pattern: str, timeout_s: float = READY_S_MAX) -> str:
        """What it says that matches, once it does; raises `HostFailed` when it ends or takes too long."""
        end = time.monotonic() + timeout_s
        while (found := re.search(pattern, self.said)) is None:
            code = self._started.poll()
            if code is not None or time.monotonic() > end:
                state = f"ended with {code}" if code is not None else f"{timeout_s} s are over"
                raise HostFailed(f"no {pattern!r}, {state}:\n{self.said[-6_000:]}")
            time.sleep(POLL_S)
        return found.group()

    def wait_ready(self, timeout_s: float = READY_S_MAX) -> None:
        """Until it serves."""
        self.wait_for(r'\{"ready"', timeout_s)

    def wait_ended(self) -> int:
        """Until it has ended by itself; its exit code."""
        try:
            return self._started.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            raise HostFailed(f"no end within {STOP_S_MAX} s:\n{self.said[-6_000:]}") from None

    def kill(self) -> None:
        """End it at once."""
        if self._started.poll() is None:
            self._started.kill()
        self._started.wait(STOP_S_MAX)


class Host:
    """A network namespace with a loopback device. Use as a context manager."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self._directory = directory
        self._processes: list[Process] = []
        self._started = 0

    def __enter__(self) -> "Host":
        # /sys is mounted anew, because UCX looks there for the devices that there are.
        waiting = [
            "unshare",
            "--net",
            "--mount",
            "sh",
            "-c",
            "mount -t sysfs sysfs /sys; echo here; exec cat",
        ]
        self._holder = subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"here\n":
            self.__exit__()
            raise HostFailed("no network namespace can be made: root or CAP_SYS_ADMIN is needed")
        self.ip("link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()
        self._holder.kill()
        self._holder.communicate()

    @property
    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self._holder.pid), "--net", "--mount", "--"]

    def ip(self, *arguments: str) -> None:
        """One `ip` command on this host."""
        subprocess.run([*self._enter, "ip", *arguments], check=True, timeout=STOP_S_MAX)

    def plug(self, other: "Host", device: str, own: Sequence[str], others: Sequence[str]) -> None:
        """Join two hosts by a cable; each end has the same device name and addresses with prefix lengths."""
        end = ("type", "veth", "peer", "name", device, "netns", str(other._holder.pid))
        self.ip("link", "add", device, *end)
        for host, addresses in ((self, own), (other, others)):
            for address in addresses:
                host.ip("address", "add", address, "dev", device, *(("nodad",) if ":" in address else ()))
            host.ip("link", "set", device, "up")

    def add_dead_end(self, device: str, address: str) -> None:
        """A device with an address behind which there is nobody."""
        self.ip("link", "add", device, "type", "veth", "peer", "name", f"{device}-end")
        self.ip("address", "add", address, "dev", device)
        for end in (device, f"{device}-end"):
            self.ip("link", "set", end, "up")

    def lose_packets_to(self, address: str, device: str) -> None:
        """As a firewall does that drops them: they go to a neighbour that is not there."""
        self.ip("neighbour", "replace", address, "lladdr", "02:00:00:00:00:01", "dev", device)

    def lose_no_packets_to(self, address: str, device: str) -> None:
        """The firewall lets them through again."""
        self.ip("neighbour", "delete", address, "dev", device)

    def serve(self, *arguments: str, environ: dict[str, str] | None = None) -> Process:
        """Start `pdmesh serve ...`; it ends with this host, or with the test's process."""
        output = self._directory / f"{self.name}-{arguments[0]}-{self._started}.log"
        self._started += 1
        command = [sys.executable, "-m", "services.cli", "serve", *arguments]
        command[5:5] = ["--parent-pid", str(os.getpid())]
        with output.open("wb") as log:
            started = subprocess.Popen(
                [*self._enter, *command], cwd=ROOT, stdout=log, stderr=log, env=_bare() | (environ or {})
            )
        self._processes.append(Process(started, output))
        return self._processes[-1]

    def kill_all(self) -> None:
        """End all that serves here."""
        for process in self._processes:
            process.kill()
        self._processes.clear()

    def name_addresses(self, names: dict[str, str]) -> None:
        """Let names stand for addresses on this host alone."""
        file = self._directory / f"{self.name}-hosts"
        file.write_text("".join(f"{address} {name}\n" for name, address in names.items()))
        subprocess.run([*self._enter, "mount", "--bind", str(file), "/etc/hosts"], check=True)

    def cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """One `pdmesh` command on this host, to its end."""
        command = [*self._enter, sys.executable, "-m", "services.cli", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=READY_S_MAX)

    def call(self, function: Callable[[], Result]) -> Result:
        """The result of a function in a thread that is on this host: sockets made there are this host's."""
        outcome: dict[str, Any] = {}

        def run() -> None:
            try:
                with open(f"/proc/{self._holder.pid}/ns/net") as namespace:
                    _set_namespace(namespace.fileno())
                outcome["result"] = function()
            except BaseException as error:
                outcome["error"] = error

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if "error" in outcome:
            raise outcome["error"]
        result: Result = outcome["result"]
        return result


def _set_namespace(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
