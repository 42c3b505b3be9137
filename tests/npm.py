"""Pinned packages of npm, installed once and kept between runs."""

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tidy.source import ROOT

INSTALL_S_MAX = 600

needs_node = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")),
    reason="needs Node (on Debian: apt-get install nodejs npm)",
)


def installed(manifest: Path, name: str) -> Path:
    """The directory in which the packages of a `package.json` are, installed again when it has changed."""
    directory = ROOT / ".run" / name
    directory.mkdir(parents=True, exist_ok=True)
    wanted = manifest.read_bytes()
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = directory / "installed.json"
        if not done.exists() or done.read_bytes() != wanted:
            (directory / "package.json").write_bytes(wanted)
            flags = ["--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(["npm", "install", *flags], cwd=directory, check=True, timeout=INSTALL_S_MAX)
            done.write_bytes(wanted)
    return directory
