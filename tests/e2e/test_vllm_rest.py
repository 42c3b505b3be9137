"""Tools, structure, logprobs and choices of real engines, through a whole mesh and the official client."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.mesh.harness import Mesh

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

DEMO = Path("models/demo")
START_S_MAX = 380.0
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "strict": True,
        "description": "Adds two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
            "additionalProperties": False,
        },
    },
}
QUESTION = [{"role": "user", "content": "What is 12 + 30?"}]
NAMED = {"type": "function", "function": {"name": "add"}}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    flags = ("--max-model-len", "2048", "--dtype", "float32", "--tool-call-parser", "hermes")
    with (
        Mesh(DEMO, tmp_path_factory.mktemp("mesh"), *flags, start_s_max=START_S_MAX) as mesh,
        OpenAI(base_url=f"{mesh.url}/v1", api_key="none", max_retries=0, timeout=120) as made,
    ):
        yield made


def ask(client: OpenAI, **fields: Any) -> Any:
    asked = {"model": "demo", "messages": QUESTION, "max_tokens": 100, "temperature": 0.0, **fields}
    return client.chat.completions.create(**asked)


def begins_as(spaced: str, text: str) -> bool:
    """Whether a text begins so, or is the beginning of that; blanks may be anywhere."""
    parts = [rf"\s*{part}" for part in spaced.split()]
    return any(re.fullmatch("".join(parts[:end]) + r"\s*", text) for end in range(1, len(parts))) or bool(
        re.match("".join(parts), text)
    )


@pytest.mark.parametrize("choice", ["required", NAMED])
def test_a_demanded_call_fits_its_schema(client: OpenAI, choice: Any) -> None:
    """The model alone calls tools badly and would not end in time: it is the grammar that is looked at."""
    name, arguments = "", ""
    for chunk in ask(client, tools=[ADD], tool_choice=choice, stream=True, max_tokens=40):
        for delta in chunk.choices[0].delta.tool_calls or []:
            name += delta.function.name or "" if delta.index == 0 else ""
            arguments += delta.function.arguments if delta.index == 0 else ""
    assert name == "add"
    assert begins_as(r'\{ "a" : -?\d', arguments)


def test_a_call_s_result_goes_back_to_the_model(client: OpenAI) -> None:
    called = {
        "id": "call-1",
        "type": "function",
        "function": {"name": "add", "arguments": '{"a": 12, "b": 30}'},
    }
    history = [
        *QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "call-1", "content": "42"},
    ]
    choice = ask(client, tools=[ADD], messages=history, max_tokens=20).choices[0]
    assert choice.finish_reason in ("stop", "length", "tool_calls")
    assert choice.message.content or choice.message.tool_calls


def test_structure(client: OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    made = ask(client, response_format=wanted, max_tokens=12).choices[0]
    assert begins_as(r'\{ "n" : -?\d', made.message.content)
    digits = ask(client, extra_body={"structured_outputs": {"regex": "[0-9]{3}"}}).choices[0]
    assert re.fullmatch("[0-9]{3}", digits.message.content)
    chosen = ask(client, extra_body={"structured_outputs": {"choice": ["red", "blue"]}}).choices[0]
    assert chosen.message.content in ("red", "blue")


def test_logprobs_of_the_most_likely_tokens(client: OpenAI) -> None:
    found = ask(client, logprobs=True, top_logprobs=3, max_tokens=8).choices[0].logprobs.content
    assert 0 < len(found) <= 8
    for token in found:
        likely = [other.logprob for other in token.top_logprobs]
        assert len(likely) == 3
        assert likely == sorted(likely, reverse=True)
        assert token.logprob == pytest.approx(likely[0])
        assert token.logprob <= 0.0


def test_choices_differ_repeat_and_share_one_prefill(client: OpenAI) -> None:
    message = {"role": "user", "content": "the fox sees a dog and a hen. " * 20 + "Tell me a story."}
    fields = {"messages": [message], "n": 3, "seed": 5, "temperature": 2.0, "max_tokens": 16}
    first = ask(client, **fields, extra_body={"pdmesh": {"receipt": True}})
    receipts = first.model_extra["pdmesh"]["choices"]
    prompt_tokens = first.usage.prompt_tokens
    assert prompt_tokens > 128
    assert all(receipt["cached_tokens"] >= 128 for receipt in receipts[1:])
    texts = [choice.message.content for choice in first.choices]
    assert len(set(texts)) > 1
    assert [choice.message.content for choice in ask(client, **fields).choices] == texts
