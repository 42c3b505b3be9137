"""No field of vLLM's request models is silently ignored."""

import ast
import json
from collections.abc import Callable
from typing import Any

import pytest

from services.common.domain import Sampling
from services.common.errors import InvalidField
from services.common.limits import DEFAULTS, Limits
from services.gateway.call.call import Call
from services.gateway.call.generation import Generation, TextPrompt
from services.gateway.rest.openai import chat, completion, embeddings, tokenize
from services.gateway.rest.openai.refused import Refused
from services.gateway.rest.openai.structured import REFUSED_OPTIONS
from services.gateway.rest.responses.body import parse_responses
from services.gateway.tenants import Caller
from tools.docs import vllm_fields_page, vllm_models

Parse = Callable[[bytes, Limits], Any]
HI = {"messages": [{"role": "user", "content": "Hi"}]}
DOORS: tuple[tuple[Parse, Refused, dict[str, Any]], ...] = (
    (chat.parse_chat, chat.REFUSED, HI),
    (completion.parse_completion, completion.REFUSED, {"prompt": "Hi"}),
    (embeddings.parse_embeddings, embeddings.REFUSED, {"input": "Hi"}),
    (tokenize.parse_tokenize, tokenize.REFUSED, HI),
)
EACH = [(parse, name, neutral, body) for parse, table, body in DOORS for name, neutral in table.items()]


def parsed(parse: Parse, body: dict[str, Any]) -> Any:
    return parse(json.dumps(body).encode(), DEFAULTS)


def refused(parse: Parse, body: dict[str, Any]) -> str:
    """The field that a refusal names."""
    with pytest.raises(InvalidField) as caught:
        parsed(parse, body)
    assert caught.value.message.startswith(caught.value.field)
    return caught.value.field


@pytest.mark.parametrize(("parse", "name", "neutral", "body"), EACH)
def test_a_field_that_is_not_served_is_refused_by_name_and_its_default_accepted(
    parse: Parse, name: str, neutral: tuple[object, ...], body: dict[str, Any]
) -> None:
    for value in neutral:
        parsed(parse, {**body, name: value})
    for odd in ({"odd": 1}, 7, "odd", [3]):
        assert refused(parse, {**body, name: odd}) == name


@pytest.mark.parametrize(("name", "odd"), [("vllm_xargs", {"a": 1}), ("length_penalty", 1.5)])
def test_other_apis_refuse_them_too(name: str, odd: object) -> None:
    assert refused(parse_responses, {"input": "Hi", name: odd}) == name


@pytest.mark.parametrize(("name", "neutral"), REFUSED_OPTIONS.items())
def test_options_of_a_shape_are_refused_by_name(name: str, neutral: tuple[object, ...]) -> None:
    for value in neutral:
        parsed(chat.parse_chat, {**HI, "structured_outputs": {"regex": "a+", name: value}})
    body = {**HI, "structured_outputs": {"regex": "a+", name: "[ ]?"}}
    assert refused(chat.parse_chat, body) == f"structured_outputs.{name}"


def test_every_field_is_honoured_or_refused() -> None:
    models = vllm_models.committed()
    assert vllm_fields_page.ignored(models) == []
    models["CompletionRequest"].append("shiny_new_field")
    assert vllm_fields_page.ignored(models) == ["CompletionRequest.shiny_new_field"]
    assert "cache_salt" in models["EmbeddingCompletionRequest"]


def test_fields_are_read_with_those_of_bases_without_private_ones() -> None:
    source = """
class Base(BaseModel):
    names: ClassVar[set[str]] = set()
    first: int
    class Config:
        inner: int = 1
class Model(pkg.Base):
    _hidden: bool = False
    second: str | None = None
"""
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    assert list(vllm_models.fields_of("Model", classes)) == ["first", "second"]


def test_special_tokens_before_a_text_are_left_out_where_so_asked() -> None:
    for value, begins in ((None, True), (True, True), (False, False)):
        for prompt in ("Hi", ["Hi", "ho"]):
            made = parsed(completion.parse_completion, {"prompt": prompt, "add_special_tokens": value})
            assert {one.begins for one in made.prompts} == {begins}
    ids = parsed(completion.parse_completion, {"prompt": [[1], [2]], "add_special_tokens": False})
    assert [one.ids.tolist() for one in ids.prompts] == [[1], [2]]


def test_special_tokens_without_spaces_are_refused_only_where_they_are_shown() -> None:
    name = "spaces_between_special_tokens"
    assert not parsed(chat.parse_chat, {**HI, name: False}).shows_special
    assert parsed(chat.parse_chat, {**HI, name: True, "skip_special_tokens": False}).shows_special
    assert refused(chat.parse_chat, {**HI, name: False, "skip_special_tokens": False}) == name


def test_a_session_names_the_conversation_unless_a_cache_key_does() -> None:
    body = {**HI, "session_id": "s", "user": "u"}
    assert parsed(chat.parse_chat, body).session_key == "s"
    assert parsed(chat.parse_chat, {**body, "prompt_cache_key": "k"}).session_key == "k"
    assert refused(chat.parse_chat, {**body, "session_id": "s" * 257}) == "session_id"


@pytest.mark.parametrize("salt", ["", "s" * 1025])
def test_a_salt_must_have_a_length_that_vllm_takes(salt: str) -> None:
    for parse, _, body in DOORS[:3]:
        assert refused(parse, {**body, "cache_salt": salt}) == "cache_salt"


def salt_of(tenants: str, asked: str) -> str:
    generation = Generation("m", (TextPrompt("Hi"),), Sampling(max_tokens=1), cache_salt=asked)
    return Call("id", generation, 0.0, Caller(cache_salt=tenants)).cache_salt


def test_a_salt_only_narrows_who_shares_cached_prompts() -> None:
    assert salt_of("", "") == ""
    assert salt_of("acme", "") == "acme"
    pairs = [("acme", "a"), ("acme", "b"), ("other", "a"), ("", "a"), ("", "acme"), ("acme", "acme")]
    salts = {salt_of(*pair) for pair in pairs}
    assert len(salts | {"", "acme", "other", "a", "b"}) == len(pairs) + 5
    assert salt_of("acme", "a") == salt_of("acme", "a")
