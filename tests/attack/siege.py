"""A gateway with an attacker and somebody innocent, and what both may do to it."""

import asyncio
from dataclasses import dataclass

import msgspec

from tests.wire.gateway.conftest import Edge
from tests.wire.gateway.raw_http import RawClient, RawResponse, get, post

INNOCENT = msgspec.json.encode({"model": "tiny", "prompt": "Hello there", "max_tokens": 5})


@dataclass
class Siege:
    """The gateway, and the keys of its tenants: mallory attacks, alice is innocent, root is an admin."""

    edge: Edge
    keys: dict[str, str]

    def credential(self, tenant: str) -> str:
        """The header that says who asks."""
        return f"authorization: Bearer {self.keys[tenant]}"

    async def ask(self, request: bytes) -> RawResponse:
        """One request on a connection of its own."""
        client = await self.edge.client()
        client.send(request)
        response = await client.response()
        await client.close()
        return response

    async def post(self, tenant: str, path: str, body: bytes, *headers: str) -> RawResponse:
        """POST as a tenant."""
        return await self.ask(post(path, body, self.credential(tenant), *headers))

    async def get(self, tenant: str, path: str) -> RawResponse:
        """GET as a tenant."""
        return await self.ask(get(path, self.credential(tenant)))

    async def innocent(self, count: int = 5) -> list[int]:
        """What becomes of so many requests of alice, one after another."""
        return [(await self.post("alice", "/v1/completions", INNOCENT)).status for _ in range(count)]

    async def half_sent(self, tenant: str, sent: int, *, declared: int | None = None) -> RawClient:
        """A connection on which a tenant's body has begun and does not go on."""
        client = await self.edge.client()
        head = [
            "POST /v1/completions HTTP/1.1",
            "host: t",
            "content-type: application/json",
            self.credential(tenant),
            f"content-length: {declared or 2 * sent}",
        ]
        client.send("\r\n".join([*head, "", ""]).encode() + b" " * sent)
        await client.writer.drain()
        return client

    async def held_bytes(self, name: str = "pdmesh_gateway_bodies_bytes") -> int:
        """A gauge of the gateway's own."""
        body = (await self.get("root", "/metrics")).body.decode()
        return next(int(float(line.split()[1])) for line in body.splitlines() if line.startswith(name + " "))

    async def until_held(self, least: int, name: str = "pdmesh_gateway_bodies_bytes") -> int:
        """Wait until a gauge has reached so much."""
        while (held := await self.held_bytes(name)) < least:
            await asyncio.sleep(0.01)
        return held

    async def until_free(self, name: str = "pdmesh_gateway_bodies_bytes") -> None:
        """Wait until a gauge is back at nothing."""
        while await self.held_bytes(name):
            await asyncio.sleep(0.01)
