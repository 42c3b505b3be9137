"""A gateway with tenants, before a scripted router."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.common.credentials import KeyRecord, new_key
from tests.wire.gateway.conftest import Edge, close_clients, model_directory, running_edge
from tests.wire.gateway.raw_http import RawResponse, get, post

__all__ = ["close_clients", "model_directory"]


@dataclass
class Tenanted:
    """The gateway, its tenants file, and the keys in it."""

    edge: Edge
    file: Path
    acme: str
    admin: str

    async def ask(self, request: bytes) -> RawResponse:
        """One request on a connection of its own."""
        client = await self.edge.client()
        client.send(request)
        response = await client.response()
        await client.close()
        return response

    async def get(self, path: str, *headers: str) -> RawResponse:
        """GET."""
        return await self.ask(get(path, *headers))

    async def complete(self, body: bytes, *headers: str) -> RawResponse:
        """POST /v1/completions."""
        return await self.ask(post("/v1/completions", body, *headers))


TEXT = """
[tenants.acme]
keys = ["{acme}"]
service_class = "interactive"
weight = 2.5
max_tokens = 7
models = ["tiny"]
[tenants.admin]
keys = ["{admin}"]
is_admin = true
models = ["other"]
"""


@pytest.fixture
async def tenanted(model_directory: Path, tmp_path: Path) -> AsyncIterator[Tenanted]:
    acme, admin = new_key(), new_key()
    file = tmp_path / "tenants.toml"
    file.write_text(TEXT.format(acme=KeyRecord.of(acme), admin=KeyRecord.of(admin)))
    settings = {"tenants": str(file), "internals_for": "admins", "grace_ms": 200}
    async with running_edge(model_directory, **settings) as edge:
        edge.router.script = edge.says("hello")
        yield Tenanted(edge, file, acme, admin)
