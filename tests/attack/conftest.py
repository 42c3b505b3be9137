"""Marks everything in this folder."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test below this folder its marker."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("attack")
