"""A tool that must be called, beside a shape for the answer: at every API's own words."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from services.common.domain import StructuredKind
from services.common.errors import InvalidField
from services.common.limits import DEFAULTS
from services.gateway.call.generation import Generation
from services.gateway.rest.anthropic.body import parse_messages
from services.gateway.rest.openai.chat import parse_chat
from services.gateway.rest.responses.body import parse_responses

SCHEMA = {"type": "object"}
HI = [{"role": "user", "content": "Hi"}]
FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}


def chat(**fields: Any) -> Generation:
    tools = [{"type": "function", "function": {"name": "f"}}]
    return parse_chat(json.dumps({"model": "m", "messages": HI, "tools": tools, **fields}).encode(), DEFAULTS)


def responses(**fields: Any) -> Generation:
    tools = [{"type": "function", "name": "f"}]
    body = {"model": "m", "input": "Hi", "tools": tools, **fields}
    return parse_responses(json.dumps(body).encode(), DEFAULTS)


def messages(**fields: Any) -> Generation:
    tools = [{"name": "f", "input_schema": SCHEMA}]
    body = {"model": "m", "max_tokens": 9, "messages": HI, "tools": tools, **fields}
    return parse_messages(json.dumps(body).encode(), DEFAULTS)


Parse = Callable[..., Generation]
CHAT_SHAPE = {"response_format": FORMAT}
RESPONSES_SHAPE = {"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}}
MESSAGES_SHAPE = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
NAMED = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("parse", "shape", "choice", "is_demanded"),
    [
        (chat, CHAT_SHAPE, NAMED, True),
        (chat, CHAT_SHAPE, "required", True),
        (chat, {"response_format": {"type": "json_object"}}, NAMED, True),
        (chat, CHAT_SHAPE, "auto", False),
        (chat, CHAT_SHAPE, "none", False),
        (responses, RESPONSES_SHAPE, {"type": "function", "name": "f"}, True),
        (responses, RESPONSES_SHAPE, "required", True),
        (responses, RESPONSES_SHAPE, "auto", False),
        (messages, MESSAGES_SHAPE, {"type": "tool", "name": "f"}, True),
        (messages, MESSAGES_SHAPE, {"type": "any"}, True),
        (messages, MESSAGES_SHAPE, {"type": "auto"}, False),
    ],
)
def test_a_demanded_tool_wins_over_a_format(
    parse: Parse, shape: dict[str, Any], choice: Any, is_demanded: bool
) -> None:
    structured = parse(tool_choice=choice, **shape).sampling.structured
    assert (structured is None) == is_demanded
    assert is_demanded or structured.kind is StructuredKind.JSON_SCHEMA


@pytest.mark.parametrize("parse", [chat, responses])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("structured_outputs", {"regex": "a"}),
        ("structured_outputs", {"json": SCHEMA}),
        ("guided_choice", ["a"]),
        ("guided_grammar", "root ::= x"),
    ],
)
def test_a_demanded_tool_contradicts_vllm_s_own_constraints(parse: Parse, name: str, value: Any) -> None:
    with pytest.raises(InvalidField) as caught:
        parse(tool_choice="required", **{name: value})
    assert caught.value.field == name
    assert parse(tool_choice="auto", **{name: value}).sampling.structured is not None


def test_a_format_that_cannot_be_is_refused_beside_a_tool_too() -> None:
    with pytest.raises(InvalidField) as caught:
        chat(tool_choice="required", response_format={"type": "xml"})
    assert caught.value.field == "response_format.type"
