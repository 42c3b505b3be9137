"""A virtual environment for each peer, made once; what cannot be installed is told with its reason."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers.peer import Peer

PYTHONS = ("python3.12", "python3.13", "python3.11", "python3")
"""Interpreters in the order in which they are tried: not every peer takes every version."""
INSTALL_S_MAX = 900
STAMP = "installed"


@dataclass(frozen=True)
class Installed:
    """What came of it."""

    version: str = ""
    """Empty: the peer cannot take part."""
    reason: str = ""


def install(peer: Peer) -> Installed:
    """Make the environment unless it is there already."""
    if peer.requirement and _stamp(peer) != peer.requirement:
        reason = _make(peer)
        if reason:
            return Installed(reason=reason)
    version = _version(peer)
    return Installed(version) if version else Installed(reason=peer.note or "its environment is broken")


def _stamp(peer: Peer) -> str:
    file = peer.directory / STAMP
    return file.read_text().strip() if file.exists() else ""


def _make(peer: Peer) -> str:
    """The reason why it failed; empty when it did not."""
    shutil.rmtree(peer.directory, ignore_errors=True)
    reason = "no Python to make its environment with"
    for python in filter(_works, PYTHONS):
        reason = _try(peer, python)
        if not reason:
            (peer.directory / STAMP).write_text(peer.requirement + "\n")
            break
    return reason


def _works(python: str) -> bool:
    found = shutil.which(python)
    return found is not None and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0


def _try(peer: Peer, python: str) -> str:
    try:
        subprocess.run(
            [python, "-m", "venv", "--clear", str(peer.directory)], check=True, capture_output=True
        )
        pip = [str(peer.directory / "bin" / "pip"), "install", "--quiet", "--only-binary", ":all:"]
        subprocess.run(
            [*pip, peer.requirement], check=True, capture_output=True, text=True, timeout=INSTALL_S_MAX
        )
    except subprocess.CalledProcessError as error:
        return f"{python}: {last_error(str(error.stderr))}"
    except subprocess.TimeoutExpired:
        return f"{python}: pip took more than {INSTALL_S_MAX} s"
    return ""


def last_error(text: str) -> str:
    """The last line of pip's that says what went wrong, cut to a table's width."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["pip said nothing"]
    return errors[-1].removeprefix("ERROR: ")[:300]


def _version(peer: Peer) -> str:
    python: Path = peer.directory / "bin" / "python"
    if not python.exists():
        return ""
    code = f"import importlib.metadata as m; print(m.version({peer.distribution!r}))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    return done.stdout.strip()
