"""Two routers that share every worker: either can die or leave under load."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.conftest import SIM
from tests.mesh.harness import Mesh
from tests.mesh.streams import Load

STREAMS, TOKENS = 64, 120


@pytest.fixture(scope="module")
def mesh(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Two of everything but the gateway."""
    directory = tmp_path_factory.mktemp("routers")
    flags = ("--routers", "2", "--prefill", "2", "--decode", "2", *SIM)
    with Mesh(model_dir, directory, *flags) as running:
        yield running


@pytest.mark.parametrize(
    ("router", "number"),
    [("router", signal.SIGKILL), ("router-2", signal.SIGKILL), ("router", signal.SIGTERM)],
)
async def test_a_router_that_dies_or_leaves_loses_and_repeats_nothing(
    mesh: Mesh, model_dir: Path, router: str, number: int
) -> None:
    running, gone = Load(mesh.url, model_dir, count=STREAMS, max_tokens=TOKENS), []
    await running.run(lambda: gone.append(mesh.send(router, number)), after_tokens=20)
    assert running.faults() == []
    mesh.wait_restarted(router, gone[0])


async def test_two_routers_serve_more_than_fits_at_once(model_dir: Path, tmp_path: Path) -> None:
    """Each decode worker seats eight; forty streams wait their turn at both routers, and all end well."""
    flags = ("--routers", "2", *SIM, "--decode-engine-arg", "max-num-seqs=8")
    with Mesh(model_dir, tmp_path, *flags) as mesh:
        running = Load(mesh.url, model_dir, count=40, max_tokens=40)
        await running.run()
        assert running.faults() == []
