"""What the load is sent to: the engine itself, a peer in front of it, pdmesh."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.peers.mesh import Running, running_mesh, stop
from tests.bench.peers.peer import LOCAL, MODEL, Peer, Place
from tests.bench.peers.tree import tree
from tests.tidy.source import ROOT

START_S_MAX = 90.0
POLL_S = 0.2


class DidNotStart(Exception):
    """A peer that does not answer; the message has the end of what it wrote."""


@contextmanager
def direct(step_ms: float, *, lock_step: bool) -> Iterator[Running]:
    """The engine without anything in front."""
    flags = ["--step-ms", str(step_ms), *(["--lock-step"] if lock_step else [])]
    command = [sys.executable, "-m", "tests.bench.peers.engine", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield Running(f"http://{LOCAL}:{int(process.stdout.readline())}", {"engine": process.pid})
    finally:
        stop(process)


@contextmanager
def peer_running(peer: Peer, scratch: Path, step_ms: float, *, lock_step: bool) -> Iterator[Running]:
    """The engine and a peer in front of it, which answers; raises `DidNotStart`."""
    with direct(step_ms, lock_step=lock_step) as engine:
        port, spare_port = free_ports(2)
        place = Place(peer.directory / "bin", port, spare_port, engine.url, scratch)
        log = scratch / f"{peer.name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                peer.command(place),
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | peer.environment,
            )
        try:
            url = f"http://{LOCAL}:{port}"
            wait_for_answer(url, process, log)
            yield Running(url, {**engine.pids, peer.name: process.pid})
        finally:
            stop_tree(process)


@contextmanager
def mesh_running(
    model: Path, scratch: Path, step_ms: float, *, lock_step: bool, is_edge: bool
) -> Iterator[Running]:
    """pdmesh with its own engine, at the same pace."""
    with running_mesh(model, scratch, step_ms, lock_step=lock_step, is_edge=is_edge) as mesh:
        yield mesh


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment, below the ephemeral range."""
    found: list[int] = []
    for port in range(21_000 + os.getpid() % 1_000 * 10, 32_000):
        with socket.socket() as probe:
            if probe.connect_ex((LOCAL, port)):
                found.append(port)
        if len(found) == count:
            break
    return found


def wait_for_answer(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until a request comes back whole."""
    end_s = time.monotonic() + START_S_MAX
    while not answers(url):
        if process.poll() is not None or time.monotonic() > end_s:
            raise DidNotStart(log.read_text(errors="replace")[-400:] or "no answer, no word")
        time.sleep(POLL_S)


def answers(url: str) -> bool:
    """Whether one short chat completion works."""
    messages = [{"role": "user", "content": "hello"}]
    body = json.dumps({"model": MODEL, "messages": messages, "max_tokens": 2, "stream": True}).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return b"[DONE]" in answer.read()
    except OSError:
        return False


def stop_tree(process: "subprocess.Popen[bytes]") -> None:
    """End a peer and whatever it leaves behind."""
    children = [pid for pid in tree(process.pid) if pid != process.pid]
    stop(process)
    for pid in children:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue  # gone with its parent
