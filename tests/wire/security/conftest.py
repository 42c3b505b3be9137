"""An authority whose word counts, for tests of TLS."""

from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.wire.gateway.conftest import model_directory

__all__ = ["model_directory"]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA in the test's own directory."""
    return Authority(tmp_path)
