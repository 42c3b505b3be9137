"""A gRPC request means what the same body means over REST."""

import dataclasses
import json
from typing import Any

import pytest

from pdmesh.client import Message, Retrieval, Sampling, StructuredOutput, Tool, ToolCall
from pdmesh.client.options import CallOptions
from pdmesh.client.requests import chat_request, complete_request, generate_request
from services.common.errors import InvalidField
from services.common.limits import DEFAULTS
from services.gateway.call.generation import Generation
from services.gateway.grpc import bodies
from services.gateway.rest.openai.chat import parse_chat
from services.gateway.rest.openai.completion import parse_completion

SCHEMA = '{"type": "object", "properties": {"city": {"type": "string"}}}'
WEATHER = {"name": "weather", "description": "The weather.", "parameters": json.loads(SCHEMA)}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
LOOK_UP = {"collection": "c", "query": "q", "passages_max": 3, "tokens_max": 100, "required": True}
OPTIONS, PLAIN = CallOptions(), Sampling()
TOOLS = {"tools": [Tool("weather", "The weather.", SCHEMA)]}
REST_TOOLS = {"tools": [{"type": "function", "function": WEATHER}]}


def chat(sampling: Sampling = PLAIN, **given: Any) -> Generation:
    """What a gRPC chat asks for."""
    fields = {
        "tools": (), "tool_choice": "", "parallel_tool_calls": None, "template_variables": None,
        "retrieval": None, "messages": "Hi", **given,
    }  # fmt: skip
    messages = fields.pop("messages")
    return bodies.chat(chat_request("m", messages, sampling, OPTIONS, **fields), DEFAULTS)


def rest(**fields: Any) -> Generation:
    """What a REST chat asks for."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True, **fields}
    return parse_chat(json.dumps(body).encode(), DEFAULTS)


def same(one: Generation, other: Generation) -> bool:
    """Whether they ask for the same, but for what is only about how the answer is written."""
    free = {"size_bytes": 0, "returns_token_ids": True}
    return dataclasses.replace(one, **free) == dataclasses.replace(other, **free)


FULL = {
    "max_tokens": 9, "min_tokens": 1, "temperature": 0.5, "top_p": 0.5, "top_k": 3, "min_p": 0.25,
    "presence_penalty": 0.5, "frequency_penalty": 0.5, "repetition_penalty": 1.5, "seed": 7, "stop": ["x"],
    "stop_token_ids": [4], "ignore_eos": True, "logit_bias": {"3": 1.5}, "n": 2, "bad_words": ["y"],
    "allowed_token_ids": [1, 2, 3],
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({}, {}),
        ({"sampling": Sampling(**{**FULL, "logit_bias": {3: 1.5}})}, FULL),
        ({"sampling": Sampling(logprobs=0)}, {"logprobs": True, "top_logprobs": 0}),
        ({"sampling": Sampling(logprobs=3)}, {"logprobs": True, "top_logprobs": 3}),
        (
            {"sampling": Sampling(stop=("x",), include_stop=True)},
            {"stop": "x", "include_stop_str_in_output": True},
        ),
        (TOOLS, REST_TOOLS),
        (
            TOOLS | {"tool_choice": "required", "parallel_tool_calls": False},
            REST_TOOLS | {"tool_choice": "required", "parallel_tool_calls": False},
        ),
        (
            TOOLS | {"tool_choice": "weather"},
            REST_TOOLS | {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        ),
        (
            {
                "messages": [
                    Message("system", "S"),
                    Message("user", "U", name="ann"),
                    Message("assistant", tool_calls=[ToolCall("c1", "weather", '{"city": "Ulm"}')]),
                    Message("tool", "rain", tool_call_id="c1"),
                ]
            },
            {
                "messages": [
                    {"role": "system", "content": "S"},
                    {"role": "user", "content": "U", "name": "ann"},
                    {"role": "assistant", "content": "", "tool_calls": [CALL]},
                    {"role": "tool", "content": "rain", "tool_call_id": "c1"},
                ]
            },
        ),
        (
            {"template_variables": {"enable_thinking": False, "depth": 2.0}},
            {"chat_template_kwargs": {"enable_thinking": False, "depth": 2.0}},
        ),
        ({"retrieval": Retrieval("c", "q", 3, 100, True)}, {"retrieval": LOOK_UP}),
    ],
)
def test_a_chat(given: dict[str, Any], fields: dict[str, Any]) -> None:
    assert same(chat(**given), rest(**fields))


@pytest.mark.parametrize(
    ("form", "structured"),
    [
        (StructuredOutput(json_object=True), {"json_object": True}),
        (StructuredOutput(json_schema=SCHEMA), {"json": SCHEMA}),
        (StructuredOutput(regex="a+"), {"regex": "a+"}),
        (StructuredOutput(choices=("yes", "no")), {"choice": ["yes", "no"]}),
        (StructuredOutput(grammar='root ::= "x"'), {"grammar": 'root ::= "x"'}),
    ],
)
def test_forms(form: StructuredOutput, structured: dict[str, Any]) -> None:
    made = chat(Sampling(structured_output=form))
    assert made.sampling.structured is not None
    assert same(made, rest(structured_outputs=structured))


def test_a_completion() -> None:
    request = complete_request("m", "Once", Sampling(logprobs=2), OPTIONS, False, None)
    body = {"model": "m", "prompt": "Once", "logprobs": 2, "stream": True}
    assert same(bodies.complete(request, DEFAULTS), parse_completion(json.dumps(body).encode(), DEFAULTS))


def test_tokens_go_past_the_body() -> None:
    made = bodies.generate(generate_request("m", [5, 6], Sampling(), OPTIONS), DEFAULTS)
    (prompt,) = made.prompts
    assert list(prompt.ids) == [5, 6]  # type: ignore[union-attr]
    assert (made.max_tokens_default, made.returns_text, made.returns_token_ids) == (0, False, True)
    stopped = generate_request("m", [5], Sampling(stop=("x",)), OPTIONS)
    assert bodies.generate(stopped, DEFAULTS).returns_text


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"sampling": Sampling(structured_output=StructuredOutput())}, "structured_output"),
        ({"tools": [Tool("weather", "", "{no json")]}, "tools[0].parameters"),
        ({"messages": [Message("no body", "x")]}, "messages[0].role"),
        ({"tools": [Tool("weather")], "tool_choice": "absent"}, "tool_choice"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        chat(**given)
    assert caught.value.field.startswith(field)
