"""LangChain's client for OpenAI against the gateway, unchanged but for its base URL."""

import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wire.gateway.conftest import Edge
from tests.wire.gateway.threaded import threaded_edge

TEXT = 'The sun sets in Köln, 東京 and Москва 😀😀 — "quoted\\" \n\t done.'
SAID = [("system", "Be brief."), ("human", "Hello")]
PROMPT = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def chat_openai() -> Any:
    """Its class. Importing takes seconds, and warns of what is not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langchain_openai import ChatOpenAI
    return ChatOpenAI


@pytest.fixture
def edge(model_directory: Path, chat_openai: Any) -> Iterator[Edge]:
    with threaded_edge(model_directory) as running:
        yield running


@pytest.fixture(params=[False, True], ids=["chat completions", "responses"])
async def model(edge: Edge, chat_openai: Any, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    edge.router.script = edge.says(TEXT)
    made = chat_openai(
        base_url=f"{edge.url}/v1",
        api_key="none",
        model="tiny",
        max_retries=0,
        stream_usage=True,
        use_responses_api=request.param,
    )
    yield made
    made.root_client.close()
    await made.root_async_client.close()


async def test_asked(edge: Edge, model: Any) -> None:
    answer = await model.ainvoke(SAID)
    assert answer.text == TEXT
    assert list(edge.router.jobs[0].request.prompt) == edge.ids(PROMPT)
    used = answer.usage_metadata
    assert (used["input_tokens"], used["output_tokens"]) == (len(edge.ids(PROMPT)), len(edge.ids(TEXT)))


async def test_streamed(edge: Edge, model: Any) -> None:
    chunks = [chunk async for chunk in model.astream(SAID)]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    assert whole.text == TEXT
    assert len([chunk for chunk in chunks if chunk.text]) >= 1
    assert whole.usage_metadata["output_tokens"] == len(edge.ids(TEXT))


async def test_a_shape(edge: Edge, model: Any) -> None:
    edge.router.script = edge.says('{"a": 1}')
    schema = {
        "title": "Answer",
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
    }
    shaped = model.with_structured_output(schema, method="json_schema")
    assert await shaped.ainvoke(SAID) == {"a": 1}
    structured = edge.router.jobs[0].request.sampling.structured
    assert structured is not None
    assert '"integer"' in structured.value
