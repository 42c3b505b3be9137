"""Meshes that tests share, and ones of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh import model
from tests.mesh.harness import Mesh

SIM = ("--engine", "sim", "--engine-arg", "step-ms=8", "--engine-arg", "sequence-us=0")
"""A step slow enough that 32 streams are in mid-air for a second."""


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
