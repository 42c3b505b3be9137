"""The tiny model and its reference answers, made once for all tests."""

from pathlib import Path

import pytest

from tests.e2e.references import Reference, generate
from tools.tiny_model import build


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def reference(model: Path) -> Reference:
    return generate(model)
