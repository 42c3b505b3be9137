"""Marks everything in this folder, and a gateway on which one tenant attacks another."""

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.common.credentials import KeyRecord, new_key
from services.common.limits import DEFAULTS
from tests.attack.siege import Siege
from tests.wire.gateway.conftest import close_clients, model_directory, running_edge

__all__ = ["close_clients", "model_directory"]

HERE = Path(__file__).parent
TENANTS = """
[tenants.mallory]
keys = ["{mallory}"]
{quota}
[tenants.alice]
keys = ["{alice}"]
[tenants.root]
keys = ["{root}"]
is_admin = true
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test below this folder its marker."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("attack")


Besiege = Callable[..., AbstractAsyncContextManager[Siege]]


@pytest.fixture
def besieged(model_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Besiege:
    """Opens a gateway with three tenants; limits and settings are named, `quota` is mallory's line of it."""

    @asynccontextmanager
    async def open_siege(
        *, limits: dict[str, Any] | None = None, quota: str = "", **settings: Any
    ) -> AsyncIterator[Siege]:
        keys = {name: new_key() for name in ("mallory", "alice", "root")}
        records = {name: KeyRecord.of(key) for name, key in keys.items()}
        file = tmp_path / "tenants.toml"
        file.write_text(TENANTS.format(quota=quota, **records))
        changed = dataclasses.replace(DEFAULTS, **(limits or {}))
        monkeypatch.setattr("services.gateway.main.DEFAULTS", changed)
        given = {"tenants": str(file), "grace_ms": 200, **settings}
        async with running_edge(model_directory, **given) as edge:
            edge.router.script = edge.says("hello")
            yield Siege(edge, keys)

    return open_siege
