"""Gateways whose tenants have quotas, before a scripted router."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.common.credentials import KeyRecord, new_key
from tests.redis_server import running_redis
from tests.wire.gateway.conftest import Edge, close_clients, model_directory, running_edge
from tests.wire.gateway.raw_http import RawClient, RawResponse, get, post

__all__ = ["close_clients", "model_directory"]

LIMITS = """
[tenants.acme]
keys = ["{acme}"]
{limits}
[tenants.admin]
keys = ["{admin}"]
is_admin = true
"""


@dataclass
class Keys:
    """The keys of one tenants file."""

    file: Path
    acme: str
    admin: str

    async def ask(self, port: int, **fields: Any) -> RawResponse:
        """A completion of acme's, whole."""
        client = await self.begin(port, **fields)
        response = await client.response()
        await client.close()
        return response

    async def begin(self, port: int, **fields: Any) -> RawClient:
        """A client that has asked."""
        client = await RawClient.connect(port)
        client.send(self.request(**fields))
        return client

    def request(self, **fields: Any) -> bytes:
        """The bytes of a completion of acme's; a field named `headers` is a list of header lines."""
        headers = fields.pop("headers", [])
        body = {"model": "tiny", "prompt": [1, 2, 3, 4, 5], "max_tokens": 20, **fields}
        return post(
            "/v1/completions", json.dumps(body).encode(), f"authorization: Bearer {self.acme}", *headers
        )

    async def embed(self, port: int, texts: list[list[int]]) -> RawResponse:
        """The answer to a wish of acme's for vectors."""
        client = await RawClient.connect(port)
        body = json.dumps({"model": "vectors", "input": texts}).encode()
        client.send(post("/v1/embeddings", body, f"authorization: Bearer {self.acme}"))
        response = await client.response()
        await client.close()
        return response

    async def usage(self, port: int, query: str = "", key: str | None = None) -> RawResponse:
        """What /admin/usage says to the admin, or to the holder of another key; to nobody for ""."""
        key = self.admin if key is None else key
        client = await RawClient.connect(port)
        client.send(get(f"/admin/usage{query}", *([f"authorization: Bearer {key}"] if key else [])))
        response = await client.response()
        await client.close()
        return response

    async def rows(self, port: int, query: str = "") -> list[dict[str, Any]]:
        """Its rows."""
        rows: list[dict[str, Any]] = json.loads((await self.usage(port, query)).body)["data"]
        return rows


def keys_of(directory: Path, **limits: int) -> Keys:
    """A tenants file in which acme has these limits."""
    acme, admin, file = new_key(), new_key(), directory / "tenants.toml"
    lines = "\n".join(f"{name} = {number}" for name, number in limits.items())
    file.write_text(LIMITS.format(acme=KeyRecord.of(acme), admin=KeyRecord.of(admin), limits=lines))
    return Keys(file, acme, admin)


@dataclass
class Limited:
    """A gateway with limits."""

    edge: Edge
    keys: Keys

    async def ask(self, **fields: Any) -> RawResponse:
        """A completion of acme's, whole."""
        return await self.keys.ask(self.edge.port, **fields)


@asynccontextmanager
async def limited(model_directory: Path, directory: Path, **limits: Any) -> AsyncIterator[Limited]:
    """A gateway in which acme has these limits; settings of the gateway's own are in `settings`."""
    settings = limits.pop("settings", {})
    keys = keys_of(directory, **limits)
    async with running_edge(model_directory, tenants=str(keys.file), grace_ms=200, **settings) as edge:
        edge.router.script = edge.says("Hello")
        yield Limited(edge, keys)


@pytest.fixture
def redis_url() -> Iterator[str]:
    """A real Redis."""
    with running_redis() as url:
        yield url
