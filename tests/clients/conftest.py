"""A gateway with vLLM's parsers before a scripted model that reads a file with the client's own tool."""

import json
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pdmesh.router.v1 import router_pb2
from services.gateway.models.parsing import load_parsing
from tests.clients.program import Outside
from tests.mesh.harness import Mesh
from tests.npm import installed
from tests.wire.gateway.conftest import Edge, running_edge
from tests.wire.gateway.fake_router import Job

HERE = Path(__file__).parent
DEMO = Path("models/demo")
MODEL = router_pb2.Model(name="tiny", max_model_len=200_000, prefill_workers=1, decode_workers=1)
TEST_S_MAX = 900
"""Packages are installed within it the first time."""
NOTE, WORD = "note.txt", "heron"
ASKED = f"What is the secret word in {NOTE}?"
TOLD = f"The word is {WORD}."
SIM = {"max-model-len": 100_000, "kv-blocks": 32_768, "mean-output-tokens": 20}
"""Room for a client's own instructions, and answers that end by themselves."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_S_MAX))


@pytest.fixture(scope="session")
def programs() -> Path:
    """Where the packages of npm are."""
    return installed(HERE / "package.json", "clients") / "node_modules"


@pytest.fixture(scope="session", autouse=True)
def vllm_imported() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_parsing(DEMO, "hermes", "")


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    """Whoever wants to reach another machine comes here; that is a fault of the test."""
    async with Outside().listening() as listening:
        yield listening
        assert listening.knocks == []


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with running_edge(DEMO, models=[MODEL], grace_ms=200, tool_call_parser="hermes") as running:
        yield running


@pytest.fixture(scope="module")
def sim_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A whole mesh of processes whose engine is a timing model; its answers are short."""
    flags = ["--engine", "sim", "--tool-call-parser", "hermes"]
    flags += [word for name, value in SIM.items() for word in ("--engine-arg", f"{name}={value}")]
    directory = tmp_path_factory.mktemp("mesh")
    with Mesh(DEMO.absolute(), directory, *flags, start_s_max=300) as running:
        yield running


def looks_up(edge: Edge, tool: str, **arguments: str) -> None:
    """Have the model call a tool of the client's, and answer once it has seen the tool's result."""
    call = json.dumps({"name": tool, "arguments": arguments})

    def script(job: Job) -> None:
        prompt = edge.tokenizer.decode(list(job.request.prompt), skip_special_tokens=False)
        has_seen = f"word is {WORD}" in prompt.rpartition(ASKED)[2]
        text = TOLD if has_seen else f"<tool_call>\n{call}\n</tool_call>"
        edge.says(text, per_frame=5)(job)

    edge.router.script = script
