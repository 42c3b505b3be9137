"""Meshes that tests share, and ones of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh import model
from tests.mesh.harness import Mesh

SIM = ("--engine", "sim", "--engine-arg", "step-ms=8", "--engine-arg", "sequence-us=0")
"""A step slow enough that 32 streams are in mid-air for a second."""


TEST_S_MAX = 240
"""Starting a mesh counts, and on a slow machine every process and command takes seconds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_S_MAX))


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """Requests wait for processes that start again for as long as that takes on a slow machine."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PDMESH_ROUTER_QUEUE_WAIT_MS_MAX", "120000")
        environment.setenv("PDMESH_GATEWAY_RESUME_WAIT_MS", "120000")
        yield


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.build(tmp_path_factory.mktemp("models") / "words")


@pytest.fixture(scope="module")
def mesh(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Two prefill and two decode workers; a test that kills one leaves when it is back."""
    directory = tmp_path_factory.mktemp("mesh")
    with Mesh(model_dir, directory, "--prefill", "2", "--decode", "2", *SIM) as running:
        yield running


@pytest.fixture
def own_mesh(model_dir: Path, tmp_path: Path) -> Iterator[Mesh]:
    """One of each, for a test that ends it."""
    with Mesh(model_dir, tmp_path, *SIM) as running:
        yield running
