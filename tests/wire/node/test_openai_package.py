"""The `openai` package of npm under Node against the gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.npm import installed, needs_node
from tests.unit.gateway.model_directory import write_model
from tests.wire.gateway.conftest import Edge, running_edge

HERE = Path(__file__).parent
TEXT = 'The sun sets in Köln, 東京 and Москва 😀😀 — "quoted\\" \n\t done.'

pytestmark = [pytest.mark.timeout(300), needs_node]


@pytest.fixture(scope="module")
def packages() -> Path:
    """Where the pinned package is."""
    return installed(HERE / "package.json", "node")


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
