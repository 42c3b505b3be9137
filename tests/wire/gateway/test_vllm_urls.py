"""URLs that scripts written for vLLM ask."""

import asyncio
import json
from typing import Any

import pytest

from services.common.version import VERSION
from tests.wire.gateway.conftest import Edge
from tests.wire.gateway.raw_http import get, post

REQUESTS = (
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    ("/v1/completions", {"prompt": "Hi"}),
    ("/v1/responses", {"input": "Hi"}),
    ("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}),
)


async def shown(edge: Edge, path: str) -> Any:
    client = await edge.client()
    client.send(get(path))
    response = await client.response()
    await client.close()
    assert response.status == 200
    return json.loads(response.body)


async def test_version_and_ping_are_told(edge: Edge) -> None:
    assert await shown(edge, "/version") == {"version": VERSION}
    assert await shown(edge, "/ping") == await shown(edge, "/health")


async def test_a_model_says_its_root_and_length(edge: Edge) -> None:
    (model,) = (await shown(edge, "/v1/models"))["data"]
    assert model["root"] == model["id"] == "tiny"
    assert model["max_model_len"] > 0
    assert await shown(edge, "/v1/models/tiny") == model


@pytest.mark.parametrize(("path", "body"), REQUESTS)
async def test_load_counts_what_is_not_answered_yet(edge: Edge, path: str, body: dict[str, Any]) -> None:
    assert await shown(edge, "/load") == {"server_load": 0}
    client = await edge.client()
    client.send(post(path, json.dumps({"model": "tiny", **body}).encode()))
    job = await edge.router.job(1)
    assert await shown(edge, "/load") == {"server_load": 1}
    job.place()
    job.send(edge.ids("ho"))
    job.end()
    assert (await client.response()).status == 200
    assert await shown(edge, "/load") == {"server_load": 0}
    client.send(post(path, b"{"))
    assert (await client.response()).status == 400
    assert await shown(edge, "/load") == {"server_load": 0}
    await client.close()


async def test_load_forgets_a_client_that_is_gone(edge: Edge) -> None:
    client = await edge.client()
    client.send(post("/v1/completions", json.dumps({"model": "tiny", "prompt": "Hi"}).encode()))
    await edge.router.job(1)
    await client.close()
    while await shown(edge, "/load") != {"server_load": 0}:
        await asyncio.sleep(0.005)
