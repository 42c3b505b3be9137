"""Whatever one field of a body is, the body is taken or the field is named; nothing else is ever raised."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.errors import InvalidField
from services.common.limits import DEFAULTS
from services.gateway.rest.anthropic.body import CountBody, MessagesBody, parse_count, parse_messages
from services.gateway.rest.openai.chat import ChatBody, parse_chat
from services.gateway.rest.openai.completion import CompletionBody, parse_completion
from services.gateway.rest.openai.embeddings import EmbeddingsBody, parse_embeddings
from services.gateway.rest.openai.tokenize import (
    DetokenizeBody,
    TokenizeBody,
    parse_detokenize,
    parse_tokenize,
)
from services.gateway.rest.responses.body import ResponsesBody, parse_responses
from tests.unit.gateway.test_bodies import json_values

HI = [{"role": "user", "content": "Hi"}]
RELATED = {
    "add_generation_prompt": {"continue_final_message"},
    "continue_final_message": {"add_generation_prompt"},
    "messages": {"prompt"},
    "top_logprobs": {"logprobs"},
    "tools": {"tool_choice"},
}
"""Fields that are wrong only beside another one, and may be named in its place."""

BODIES = [
    (parse_chat, ChatBody, {"messages": HI}),
    (parse_completion, CompletionBody, {"prompt": "Hi"}),
    (parse_responses, ResponsesBody, {"input": "Hi"}),
    (parse_messages, MessagesBody, {"messages": HI, "max_tokens": 5}),
    (parse_count, CountBody, {"messages": HI}),
    (parse_embeddings, EmbeddingsBody, {"input": "Hi"}),
    (parse_tokenize, TokenizeBody, {"prompt": "Hi"}),
    (parse_detokenize, DetokenizeBody, {"tokens": [1]}),
]

words = st.sampled_from(
    [
        "type",
        "text",
        "role",
        "user",
        "content",
        "name",
        "function",
        "id",
        "schema",
        "format",
        "effort",
        "input",
    ]
)
known = st.recursive(
    st.one_of(
        words, st.integers(-3, 3), st.none(), st.booleans(), st.just("function"), st.just("json_schema")
    ),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(words, below, max_size=4)),
    max_leaves=12,
)
"""Values that look more like what fields take."""


def refusal_of(parse: Callable[..., Any], body: bytes) -> InvalidField | None:
    try:
        parse(body, DEFAULTS)
    except InvalidField as error:
        return error
    return None


@pytest.mark.parametrize(("parse", "kind", "body"), BODIES, ids=lambda value: getattr(value, "__name__", ""))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(data=st.data())
def test_one_field_is_anything(
    parse: Callable[..., Any], kind: Any, body: dict[str, Any], data: st.DataObject
) -> None:
    field = data.draw(st.sampled_from(kind.__struct_encode_fields__))
    value = data.draw(st.one_of(json_values, known))
    given_body = json.dumps({"model": "m", **body, field: value}).encode()
    error = refusal_of(parse, given_body)
    if error is not None:
        root = error.field.partition("[")[0].partition(".")[0]
        assert root == field or root in RELATED.get(field, ()), (error.field, error.message)
        assert root in error.message


@pytest.mark.parametrize(("parse", "kind", "body"), BODIES, ids=lambda value: getattr(value, "__name__", ""))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(junk=st.one_of(st.binary(max_size=60), json_values.map(lambda value: json.dumps(value).encode())))
def test_the_whole_body_is_anything(parse: Callable[..., Any], kind: Any, body: Any, junk: bytes) -> None:
    with pytest.raises(InvalidField):
        parse(junk, DEFAULTS)
