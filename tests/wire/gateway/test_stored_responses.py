"""Responses that their callers come back to, with the official client."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.redis_server import running_redis
from tests.wire.gateway.conftest import Edge, running_edge
from tests.wire.gateway.test_responses import prompt_of


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with running_redis() as url:
        yield url


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(edge) as made:
        yield made


def client_of(edge: Edge) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="none", max_retries=0)


async def ask(client: openai.AsyncOpenAI, **fields: Any) -> Any:
    """A response, the last one of a stream."""
    told: Any = await client.responses.create(**{"model": "tiny", "input": "Hello", **fields})
    return [event async for event in told][-1].response if fields.get("stream") else told


@pytest.mark.parametrize("stream", [False, True])
async def test_a_conversation_goes_on_from_a_response(
    edge: Edge, client: openai.AsyncOpenAI, stream: bool
) -> None:
    edge.router.script = edge.says("One.")
    first = await ask(client, stream=stream, instructions="Be brief.")
    edge.router.script = edge.says("Two.")
    second = await ask(client, input="And?", previous_response_id=first.id, stream=stream)
    third = await ask(client, input=[{"role": "user", "content": "Go on."}], previous_response_id=second.id)
    assert (second.previous_response_id, third.previous_response_id) == (first.id, second.id)
    said = [("user", "Hello"), ("assistant", "One."), ("user", "And?"), ("assistant", "Two.")]
    assert list(edge.router.jobs[1].request.prompt) == prompt_of(edge, *said[:3])  # without instructions
    assert list(edge.router.jobs[2].request.prompt) == prompt_of(edge, *said, ("user", "Go on."))
    # Another turn from the first one.
    await ask(client, input="Or?", previous_response_id=first.id)
    assert list(edge.router.jobs[3].request.prompt) == prompt_of(edge, *said[:2], ("user", "Or?"))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_is_given_again_and_forgotten(
    edge: Edge, client: openai.AsyncOpenAI, stream: bool
) -> None:
    edge.router.script = edge.says("One.")
    made = await ask(client, stream=stream, metadata={"a": "b"})
    assert made.store is True
    assert (await client.responses.retrieve(made.id)).to_dict() == made.to_dict()
    await client.responses.delete(made.id)
    for again in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            await again(made.id)
        assert caught.value.code == "response_not_found"
    with pytest.raises(openai.NotFoundError) as caught:
        await ask(client, previous_response_id=made.id)
    assert caught.value.param == "previous_response_id"


async def test_what_is_not_to_be_stored_is_not(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("One.")
    made = await ask(client, store=False)
    assert made.store is False
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)


async def test_what_is_too_long_is_given_and_not_stored(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("One.")
    tool = {
        "type": "function",
        "name": "f",
        "description": "x" * 1_100_000,
        "parameters": {},
        "strict": False,
    }
    made = await ask(client, tools=[tool], tool_choice="none")
    assert made.output_text == "One."
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)


async def test_tokens_of_an_input(edge: Edge, client: openai.AsyncOpenAI) -> None:
    edge.router.script = edge.says("One.")
    counted = await client.responses.input_tokens.count(model="tiny", input="Hello", instructions="Be brief.")
    assert counted.input_tokens == len(prompt_of(edge, ("system", "Be brief."), ("user", "Hello")))
    assert edge.router.jobs == []
    first = await ask(client)
    counted = await client.responses.input_tokens.count(
        model="tiny", input="And?", previous_response_id=first.id
    )
    said = (("user", "Hello"), ("assistant", "One."), ("user", "And?"))
    assert counted.input_tokens == len(prompt_of(edge, *said))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"previous_response_id": 3}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
    ],
)
async def test_what_cannot_be_is_named(client: openai.AsyncOpenAI, fields: dict[str, Any], name: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(client, **fields)
    assert caught.value.param == name


async def test_gateways_share_them_in_redis(model_directory: Path, redis_url: str) -> None:
    async with (
        running_edge(model_directory, store=redis_url) as one,
        running_edge(model_directory, store=redis_url) as other,
        client_of(one) as here,
        client_of(other) as there,
    ):
        one.router.script = one.says("One.")
        other.router.script = other.says("Two.")
        first = await ask(here)
        found = await until_shared(there, first.id)
        assert found.output_text == "One."
        await ask(there, input="And?", previous_response_id=first.id)
        said = (("user", "Hello"), ("assistant", "One."), ("user", "And?"))
        assert list(other.router.jobs[0].request.prompt) == prompt_of(other, *said)
        await there.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            await here.responses.retrieve(first.id)


async def until_shared(client: openai.AsyncOpenAI, response_id: str) -> Any:
    """A response that another gateway may still be writing."""
    while True:
        try:
            return await client.responses.retrieve(response_id)
        except openai.NotFoundError:
            await asyncio.sleep(0.01)
