"""Errors that workers and routers find in a request's fields reach its caller under the caller's names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import InvalidField, PromptTooLong
from services.common.limits import DEFAULTS
from services.gateway.call.generation import Generation
from services.gateway.models.rendering import ModelFiles, Renderer
from services.gateway.rest.anthropic.body import parse_messages
from services.gateway.rest.openai.chat import parse_chat
from services.gateway.rest.openai.completion import parse_completion
from services.gateway.rest.responses.body import parse_responses
from tests.unit.gateway.model_directory import write_model

MESSAGES = {"messages": [{"role": "user", "content": "a"}]}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"$ref": "#"}}}
CASES: list[tuple[Callable[..., Generation], dict[str, Any], dict[str, str]]] = [
    (
        parse_chat,
        {**MESSAGES, "response_format": SCHEMA, "max_completion_tokens": 5},
        {
            "structured_outputs": "response_format",
            "prompt": "messages",
            "max_tokens": "max_completion_tokens",
            "bad_words": "bad_words",
        },
    ),
    (
        parse_chat,
        {**MESSAGES, "response_format": {"type": "json_object"}},
        {"structured_outputs": "response_format"},
    ),
    (parse_chat, {**MESSAGES, "guided_grammar": "root ::= root"}, {"structured_outputs": "guided_grammar"}),
    (
        parse_chat,
        {**MESSAGES, "structured_outputs": {"regex": "a"}},
        {"structured_outputs": "structured_outputs"},
    ),
    (parse_chat, {**MESSAGES, "tools": [TOOL], "tool_choice": "required"}, {"structured_outputs": "tools"}),
    (parse_completion, {"prompt": "a", "guided_choice": ["b"]}, {"structured_outputs": "guided_choice"}),
    (
        parse_responses,
        {"input": "a", "text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}},
        {
            "structured_outputs": "text.format",
            "prompt": "input",
            "max_tokens": "max_output_tokens",
        },
    ),
    (
        parse_messages,
        {
            **MESSAGES,
            "max_tokens": 5,
            "output_config": {"format": {"type": "json_schema", "schema": {"$ref": "#"}}},
        },
        {
            "structured_outputs": "output_config.format",
            "thinking_token_budget": "thinking.budget_tokens",
        },
    ),
]


@pytest.mark.parametrize(("parse", "body", "names"), CASES)
def test_fields_have_the_caller_s_names(
    parse: Callable[..., Generation], body: dict[str, Any], names: dict[str, str]
) -> None:
    generation = parse(json.dumps({"model": "m", **body}).encode(), DEFAULTS)
    for ours, theirs in names.items():
        error = generation.in_callers_words(InvalidField(f"{ours}: leaves no token", field=ours))
        assert (error.field, error.message) == (theirs, f"{theirs}: leaves no token")


def test_other_errors_are_left_alone() -> None:
    body = json.dumps({"model": "m", **MESSAGES}).encode()
    error = PromptTooLong("too long", field="prompt")
    assert parse_chat(body, DEFAULTS).in_callers_words(error) is error


@pytest.fixture
def narrow(tmp_path: Path) -> Renderer:
    """A model whose tokenizer was given two tokens more than the model can read."""
    directory = write_model(tmp_path)
    tokenizer = ModelFiles.read(directory).tokenizer
    size = tokenizer.get_vocab_size()
    tokenizer.add_tokens(["<extra1>", "<extra2>"])
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "config.json").write_text(json.dumps({"vocab_size": size}))
    return Renderer(ModelFiles.read(directory))


@pytest.mark.parametrize(
    ("render", "field"),
    [
        (lambda r, text: r.text(text), "prompt"),
        (lambda r, text: r.chat([{"role": "user", "content": text}], {}), "messages"),
        (lambda r, text: r.words([text]), "bad_words"),
    ],
)
def test_text_of_a_token_that_the_model_does_not_know_is_refused(
    narrow: Renderer, render: Callable[[Renderer, str], Any], field: str
) -> None:
    assert render(narrow, "hello")
    with pytest.raises(InvalidField, match="<extra2>") as caught:
        render(narrow, "hello <extra2>")
    assert caught.value.field == field


def test_a_model_that_sees_names_its_vocabulary_with_its_text_side(tmp_path: Path) -> None:
    directory = write_model(tmp_path)
    (directory / "config.json").write_text(json.dumps({"text_config": {"vocab_size": 123}}))
    assert ModelFiles.read(directory).vocabulary_size == 123
    (directory / "config.json").write_text("{}")
    files = ModelFiles.read(directory)
    assert files.vocabulary_size == files.tokenizer_size == files.tokenizer.get_vocab_size()
