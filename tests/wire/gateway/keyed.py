"""Requests with an idempotency key, and what came back."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from tests.wire.gateway.raw_http import RawClient, RawResponse, post

HI = [{"role": "user", "content": "Hi"}]


def chat(key: str, *headers: str, **fields: Any) -> bytes:
    """A chat's bytes; without a key none is sent."""
    body = {"model": "tiny", "messages": HI, "stream": True, **fields}
    named = [f"idempotency-key: {key}"] if key else []
    return post("/v1/chat/completions", json.dumps(body).encode(), *named, *headers)


async def eventually(check: Callable[[], bool]) -> None:
    """Wait for something; the test's own timeout ends what never comes."""
    while not check():
        await asyncio.sleep(0.005)


async def ask(port: int, key: str, *headers: str, **fields: Any) -> RawResponse:
    """A chat and its whole answer."""
    client = await RawClient.connect(port)
    client.send(chat(key, *headers, **fields))
    response = await client.response()
    await client.close()
    return response


async def begun(port: int, key: str, *headers: str, **fields: Any) -> RawClient:
    """A client that has asked."""
    client = await RawClient.connect(port)
    client.send(chat(key, *headers, **fields))
    return client


def error_code(response: RawResponse) -> str:
    """The reason in an error's body."""
    return str(json.loads(response.body)["error"]["code"])


def text_of(body: bytes) -> str:
    """The text of a stream, whatever ids its events have."""
    lines = [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: ")]
    events = [json.loads(line) for line in lines if line != "[DONE]"]
    choices = [choice for event in events for choice in event["choices"]]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def event_ids(body: bytes) -> list[str]:
    """The ids of a stream's events."""
    return [line.removeprefix("id: ") for line in body.decode().splitlines() if line.startswith("id: ")]
