"""The `openai` package of npm under Node against the gateway."""

import asyncio
import fcntl
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.gateway.model_directory import write_model
from tests.wire.gateway.conftest import Edge, running_edge

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CACHE = ROOT / ".run" / "node"
TEXT = 'The sun sets in Köln, 東京 and Москва 😀😀 — "quoted\\" \n\t done.'

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not (shutil.which("node") and shutil.which("npm")),
        reason="needs Node (on Debian: apt-get install nodejs npm)",
    ),
]


@pytest.fixture(scope="module")
def packages() -> Path:
    """Where the pinned package is installed; kept between runs."""
    CACHE.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "package.json").read_bytes()
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = CACHE / "installed.json"
        if not installed.exists() or installed.read_bytes() != wanted:
            (CACHE / "package.json").write_bytes(wanted)
            flags = ["--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(["npm", "install", *flags], cwd=CACHE, check=True, timeout=240)
            installed.write_bytes(wanted)
    return CACHE


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    async with running_edge(write_model(tmp_path), grace_ms=200) as running:
        yield running


async def test_the_openai_package(edge: Edge, packages: Path) -> None:
    edge.router.script = edge.says(TEXT)
    process = await asyncio.create_subprocess_exec(
        "node", str(HERE / "client.mjs"), edge.url, str(packages), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    got = json.loads(said)
    assert got.pop("refused") == {
        "kind": "BadRequestError",
        "status": 400,
        "param": "temperature",
        "code": "invalid_field",
    }
    assert got == {
        "whole": TEXT,
        "streamed": TEXT,
        "output_tokens": len(edge.ids(TEXT)),
        "response": TEXT,
        "events": TEXT,
        "models": ["tiny"],
    }
