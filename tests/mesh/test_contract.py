"""What a request demands of its tokens, through a whole mesh of processes and the official client."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from openai import AsyncOpenAI, BadRequestError

from services.common.domain.tokens import tokens
from services.worker.engine.sim import describe, expected_tokens, vocabulary
from tests.mesh.conftest import SIM
from tests.mesh.harness import Mesh
from tests.mesh.model import FIRST_WORD

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

TOKENS = 60
STREAMS = 8
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer"}}}


@pytest.fixture(scope="module")
def own_mesh(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    flags = ("--decode", "2", "--lora-adapter", "style=nowhere", *SIM)
    with Mesh(model_dir, tmp_path_factory.mktemp("contract"), *flags) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def openai(own_mesh: Mesh) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{own_mesh.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def prompt_of(seed: int) -> list[int]:
    return [(seed * 31 + i * 7) % 256 for i in range(200)]


async def test_an_answer_has_the_schema_that_was_asked_for(openai: AsyncOpenAI, model_dir: Path) -> None:
    answer = await openai.chat.completions.create(
        model=model_dir.name,
        messages=[{"role": "user", "content": "Describe a handoff. " * 10}],
        response_format={"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA}},
    )
    assert json.loads(answer.choices[0].message.content or "") == {"name": "text", "size": 0}
    assert answer.choices[0].finish_reason == "stop"


async def test_a_shape_that_the_engine_cannot_give_is_a_bad_request(
    openai: AsyncOpenAI, model_dir: Path
) -> None:
    with pytest.raises(BadRequestError, match="needs --engine vllm"):
        await openai.chat.completions.create(
            model=model_dir.name,
            messages=[{"role": "user", "content": "Hello"}],
            extra_body={"structured_outputs": {"regex": "a+"}},
        )


async def test_an_adapter_is_a_model_of_its_own(openai: AsyncOpenAI, model_dir: Path) -> None:
    assert {entry.id async for entry in openai.models.list()} == {model_dir.name, "style"}
    answer = await openai.completions.create(model="style", prompt=prompt_of(1), max_tokens=20)
    ids = expected_tokens(tokens(prompt_of(1)), 20, vocabulary(str(model_dir)), lora="style")
    assert answer.choices[0].text == _text(ids)
    assert ids != expected_tokens(tokens(prompt_of(1)), 20, vocabulary(str(model_dir)))


async def test_logprobs_stay_with_their_tokens_when_a_decode_worker_dies(
    openai: AsyncOpenAI, own_mesh: Mesh, model_dir: Path
) -> None:
    told: list[list[float]] = [[] for _ in range(STREAMS)]
    texts = [""] * STREAMS

    async def read(number: int) -> None:
        chunks = await openai.completions.create(
            model=model_dir.name, prompt=prompt_of(number), max_tokens=TOKENS, logprobs=2, stream=True
        )
        async for chunk in chunks:
            choice = chunk.choices[0]
            texts[number] += choice.text
            if choice.logprobs is not None:
                told[number] += [value or 0.0 for value in choice.logprobs.token_logprobs or []]

    async with asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(read(number)) for number in range(STREAMS)]
        while any(len(those) < 10 for those in told):
            await asyncio.sleep(0.005)
        own_mesh.send("decode-1")
    assert all(task.done() for task in reading)
    words = vocabulary(str(model_dir))
    for number in range(STREAMS):
        ids = expected_tokens(tokens(prompt_of(number)), TOKENS, words)
        assert texts[number] == _text(ids)
        assert told[number] == list(describe(ids, 2, words).chosen)


async def test_a_whole_answer_names_the_alternatives(openai: AsyncOpenAI, model_dir: Path) -> None:
    answer = await openai.chat.completions.create(
        model=model_dir.name,
        messages=[{"role": "user", "content": "Name the alternatives. " * 10}],
        max_tokens=5,
        logprobs=True,
        top_logprobs=3,
    )
    details: Any = answer.choices[0].logprobs
    assert len(details.content) == 5
    for entry in details.content:
        assert entry.top_logprobs[0].token == entry.token
        assert [other.logprob for other in entry.top_logprobs] == [
            entry.logprob - 0.125 * i for i in range(3)
        ]


def _text(ids: Any) -> str:
    return "".join(f" w{i - FIRST_WORD}" for i in ids)
