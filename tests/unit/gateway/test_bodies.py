"""Bad bodies are refused with the field at fault; odd but good ones are taken."""

import dataclasses
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.domain import ServiceClass, Structured, StructuredKind
from services.common.errors import Invalid, InvalidField, PromptTooLong
from services.common.limits import DEFAULTS
from services.gateway.call.generation import Generation, check_vocabulary, fit_max_tokens
from services.gateway.rest.openai.chat import parse_chat
from services.gateway.rest.openai.completion import parse_completion
from services.gateway.rest.openai.json_body import decode_json

HI = [{"role": "user", "content": "Hi"}]
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def chat(**fields: Any) -> Generation:
    return parse_chat(json.dumps({"model": "m", "messages": HI, **fields}).encode(), DEFAULTS)


def completion(**fields: Any) -> Generation:
    return parse_completion(json.dumps({"model": "m", "prompt": "Hi", **fields}).encode(), DEFAULTS)


BAD_FIELDS = [
    ("model", 3),
    ("messages", []),
    ("messages", "Hi"),
    ("messages[0].role", [{"role": "<|im_end|>", "content": "x"}]),
    ("messages[0].role", [{"role": "", "content": "x"}]),
    ("messages[0].role", [{"role": "a" * 65, "content": "x"}]),
    ("messages[0].role", [{"content": "x"}]),
    ("messages[0].content", [{"role": "user"}]),
    ("messages[0].content", [{"role": "user", "content": 3}]),
    ("messages[1].content[0].type", [HI[0], {"role": "user", "content": [{"type": "image_url"}]}]),
    ("messages[0].content[0].text", [{"role": "user", "content": [{"type": "text"}]}]),
    ("messages[0].tool_calls[0].function", [{"role": "assistant", "tool_calls": [{"id": "1"}]}]),
    ("messages[0].tool_calls", [{**HI[0], "tool_calls": [{"function": {"name": "f"}}]}]),
    ("messages[0].tool_calls[0].type", [{"role": "assistant", "tool_calls": [CALL | {"type": "custom"}]}]),
    ("messages[0].function_call", [{"role": "assistant", "function_call": {"name": "f"}}]),
    ("max_tokens", 0),
    ("max_tokens", -1),
    ("max_tokens", 1.5),
    ("max_tokens", "7"),
    ("max_tokens", True),
    ("max_tokens", 10**30),
    ("max_completion_tokens", 0),
    ("temperature", -0.1),
    ("temperature", 2.1),
    ("temperature", "hot"),
    ("top_p", 0),
    ("top_p", 1.1),
    ("top_k", -2),
    ("min_p", 1.5),
    ("presence_penalty", 3),
    ("frequency_penalty", -3),
    ("repetition_penalty", 0),
    ("seed", 2**63),
    ("stop", ""),
    ("stop[1]", ["a", ""]),
    ("stop[0]", [1]),
    ("stop", ["x"] * 17),
    ("stop", "x" * 1025),
    ("logit_bias", {"5": 101}),
    ("logit_bias", {"-5": 1}),
    ("logit_bias", {"five": 1}),
    ("stream", "yes"),
    ("stream_options", {"include_usage": True}),
    ("stop_token_ids", [-1]),
    ("min_tokens", -1),
    ("n", 0),
    ("n", -1),
    ("n", 129),
    ("n", True),
    ("logprobs", 1),
    ("top_logprobs", 3),
    ("top_logprobs", -1),
    ("tools[0].function", [{"type": "function"}]),
    ("tools[0].type", [TOOL | {"type": "custom"}]),
    ("tools[0].function.name", [{"function": {"name": ""}}]),
    ("tools[0].function.parameters", [{"function": {"name": "f", "parameters": "all"}}]),
    ("tools", [TOOL] * 1025),
    ("tool_choice", "required"),
    ("tool_choice", {"type": "function", "function": {"name": "f"}}),
    ("response_format.type", {"type": "xml"}),
    ("response_format.type", {}),
    ("response_format.json_schema", {"type": "json_schema"}),
    ("response_format.json_schema.schema", {"type": "json_schema", "json_schema": {"name": "x"}}),
    ("response_format.json_schema.name", {"type": "json_schema", "json_schema": {"schema": {}}}),
    ("structured_outputs", {}),
    ("structured_outputs", {"regex": "a", "choice": ["b"]}),
    ("structured_outputs.choice", {"choice": []}),
    ("structured_outputs.choice", {"choice": ["a", ""]}),
    ("structured_outputs.json", {"json": "{"}),
    ("structured_outputs.json", {"json": "[1]"}),
    ("structured_outputs.regex", {"regex": ""}),
    ("structured_outputs.regex", {"regex": "a" * 300_000}),
    ("structured_outputs.structural_tag", {"structural_tag": "no"}),
    ("guided_json", "{"),
    ("guided_choice", []),
    ("best_of", 2),
    ("modalities", ["audio"]),
    ("bad_words[1]", ["a", ""]),
    ("bad_words[0]", [" "]),
    ("bad_words", ["a"] * 257),
    ("allowed_token_ids", []),
    ("allowed_token_ids", [-1]),
    ("priority", 2**31),
    ("user", "x" * 257),
    ("prompt_cache_key", "x" * 257),
    ("service_tier", "best"),
    ("reasoning_effort", "a lot"),
    ("chat_template", "{{ messages }}"),
    ("documents[0]", ["a"]),
    ("pdmesh.receipt", {"receipt": "yes"}),
    ("pdmesh.deadline_ms", {"deadline_ms": 0}),
    ("pdmesh.deadline_ms", {"deadline_ms": "1"}),
    ("pdmesh.service_class", {"service_class": "gold"}),
]


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
def test_a_bad_field_is_named(field: str, value: Any) -> None:
    name = field.partition("[")[0].partition(".")[0]
    with pytest.raises(InvalidField) as caught:
        chat(**{name: value})
    assert caught.value.field == field
    assert caught.value.http_status == 400
    assert name in caught.value.message


@pytest.mark.parametrize(
    "value", [3, [], [[]], ["a", 1], [1, "a"], [[1], "b"], [-1], [2**32], [[[1]]], [1.5], None, ["a"] * 129]
)
def test_a_bad_prompt_is_named(value: Any) -> None:
    with pytest.raises(Invalid) as caught:
        _fit(value)
    assert caught.value.field.startswith("prompt")


def _fit(prompt: Any) -> None:
    generation = completion(prompt=prompt)
    fit_max_tokens(generation, len(generation.prompts[0].ids), 100)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("suffix", {"suffix": "x"}),
        ("logprobs", {"logprobs": 0, "echo": True}),
        ("logprobs", {"logprobs": 21}),
        ("logprobs", {"logprobs": True}),
        ("echo", {"echo": "yes"}),
        ("prompt", {"prompt": ["a", "b"], "n": 65}),
        ("best_of", {"best_of": 3, "n": 2}),
        ("guided_regex", {"guided_regex": "a", "response_format": {"type": "json_object"}}),
    ],
)
def test_a_completion_field_that_is_not_served_is_named(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidField) as caught:
        completion(**fields)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("tool_choice", {"tools": [TOOL], "tool_choice": "any"}),
        ("tool_choice.function.name", {"tools": [TOOL], "tool_choice": {"function": {"name": "g"}}}),
        ("tool_choice.type", {"tools": [TOOL], "tool_choice": {"type": "x", "function": {"name": "f"}}}),
        ("continue_final_message", {"continue_final_message": True, "add_generation_prompt": True}),
        ("top_logprobs", {"logprobs": True, "top_logprobs": 21}),
        ("stream_options.continuous_usage_stats", {"stream_options": {"continuous_usage_stats": 1}}),
    ],
)
def test_fields_that_do_not_go_together_are_named(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidField) as caught:
        chat(**fields)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[]", "the body: Expected `object`"),
        (b'{"model": NaN}', "not valid JSON"),
        (b'{"model": "\xff"}', "not valid UTF-8 at byte 11"),
        (b'{"unknown": "\xc3"}', "not valid UTF-8"),
        (b'{"model": "\\ud800"}', "not valid JSON"),
        (b'\xef\xbb\xbf{"model": "m"}', "not valid JSON"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nests deeper than 64"),
        (b"[" * 1_000_000, "too many elements"),
        (b"[" * 60_000, "nests deeper than 64"),
        (b'{"a": "' + b"[" * 100 + b'", "b": ' + b"[" * 65, "nests deeper than 64"),
        (b'"' + b"\\" * 1_000_001, "not valid JSON"),
        (b"[" * 65 + b'\\"' * 4_000_000, "nests deeper than 64"),
        (b'{"model": "m"}', "messages: missing required field"),
    ],
)
def test_bad_bodies(body: bytes, message: str) -> None:
    with pytest.raises(InvalidField, match=message):
        parse_chat(body, DEFAULTS)


def test_brackets_in_text_are_not_nesting() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": '[[{"' * 1000}]}
    parse_chat(json.dumps(body).encode(), DEFAULTS)


def nesting(body: bytes) -> int:
    """How deep brackets outside strings nest; an unclosed string reaches to the end."""
    depth = depth_max = 0
    in_string = is_escaped = False
    for byte in body.decode():
        if in_string:
            in_string = is_escaped or byte != '"'
            is_escaped = byte == "\\" and not is_escaped
        elif byte == '"':
            in_string = True
        elif byte in "[]{}":
            depth += 1 if byte in "[{" else -1
            depth_max = max(depth, depth_max)
    return depth_max


@given(body=st.text(alphabet='[]{}"\\a', max_size=40).map(str.encode))
def test_nesting_is_counted_outside_strings_only(body: bytes) -> None:
    with pytest.raises(InvalidField) as caught:
        decode_json(body + b"!", msgspec.json.Decoder(), dataclasses.replace(DEFAULTS, json_depth_max=2))
    assert ("nests deeper than 2" in caught.value.message) == (nesting(body) > 2)


def test_duplicate_keys_count_last_and_unknown_ones_not() -> None:
    body = (
        b'{"model": "a", "model": "b", "what": [1], "messages": [{"role": "user", "content": "x", "y": 1}]}'
    )
    assert parse_chat(body, DEFAULTS).model == "b"


def test_a_model_and_a_role_are_for_others_to_know() -> None:
    assert parse_chat(json.dumps({"messages": HI, "model": None}).encode(), DEFAULTS).model == ""
    assert parse_chat(json.dumps({"messages": HI}).encode(), DEFAULTS).model == ""
    assert chat(messages=[{"role": "ipython", "content": "x"}]).prompts[0].messages[0]["role"] == "ipython"


def test_usage_in_every_event_needs_usage_at_all() -> None:
    def of(**options: bool) -> tuple[bool, bool]:
        asked = chat(stream=True, stream_options=options)
        return asked.includes_usage, asked.includes_running_usage

    assert of(continuous_usage_stats=True) == (False, False)
    assert of(continuous_usage_stats=True, include_usage=True) == (True, True)
    assert of(include_usage=True) == (True, False)


def test_neutral_values_of_unserved_fields_are_taken() -> None:
    chat(
        n=1,
        logprobs=False,
        tools=[],
        tool_choice="none",
        response_format={"type": "text"},
        modalities=["text"],
    )
    completion(n=2, best_of=2, echo=False, suffix=None, logprobs=None)


def test_what_openai_ignores_is_ignored() -> None:
    chat(metadata={"a": "b"}, store=True, user="u", safety_identifier="s", verbosity="low", what=[1])


@pytest.mark.parametrize(
    ("fields", "kind", "value"),
    [
        ({"response_format": {"type": "json_object"}}, StructuredKind.JSON_OBJECT, ""),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"a": 1}}}},
            StructuredKind.JSON_SCHEMA,
            '{"a":1}',
        ),
        ({"structured_outputs": {"json": {"a": 1}}}, StructuredKind.JSON_SCHEMA, '{"a":1}'),
        ({"structured_outputs": {"json": '{"a": 1}'}}, StructuredKind.JSON_SCHEMA, '{"a": 1}'),
        ({"structured_outputs": {"json_object": True}}, StructuredKind.JSON_OBJECT, ""),
        ({"structured_outputs": {"choice": ["a", "b"]}}, StructuredKind.CHOICE, '["a","b"]'),
        ({"structured_outputs": {"structural_tag": "{}"}}, StructuredKind.STRUCTURAL_TAG, "{}"),
        ({"guided_regex": "a+"}, StructuredKind.REGEX, "a+"),
        ({"guided_grammar": "root ::= x"}, StructuredKind.GRAMMAR, "root ::= x"),
        ({"guided_choice": ["a"]}, StructuredKind.CHOICE, '["a"]'),
        ({"guided_json": True}, StructuredKind.JSON_OBJECT, ""),
    ],
)
def test_structure(fields: dict[str, Any], kind: StructuredKind, value: str) -> None:
    for generation in (chat(**fields), completion(**fields)):
        assert generation.sampling.structured == Structured(kind, value)


def test_tools_and_calls_reach_the_template() -> None:
    history = [
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning": "hm"},
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "4"}]},
    ]
    prompt = chat(messages=[*HI, *history], tools=[TOOL]).prompts[0]
    called, answered = prompt.messages[1:]
    assert called["content"] == ""
    assert called["tool_calls"][0]["function"] == {"name": "f", "arguments": {}}
    assert called["reasoning"] == called["reasoning_content"] == "hm"
    assert answered == {"role": "tool", "content": "4", "tool_call_id": "1"}
    function = {"name": "f", "description": None, "parameters": {"type": "object"}}
    assert prompt.variables["tools"] == [{"type": "function", "function": function}]


@pytest.mark.parametrize("arguments", ["{", "[1]", "", None, "[" * 100_000, '{"a":' * 100_000])
def test_arguments_in_the_history_that_are_no_object_count_as_none(arguments: str | None) -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": arguments}}
    generation = chat(messages=[{"role": "assistant", "tool_calls": [call]}])
    assert generation.prompts[0].messages[0]["tool_calls"][0]["function"]["arguments"] == {}


def test_a_template_is_not_told_other_tools_by_its_variables() -> None:
    assert chat(chat_template_kwargs={"tools": ["forged"], "x": 1}).prompts[0].variables["tools"] is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"service_tier": "auto"}, None),
        ({"service_tier": "priority"}, ServiceClass.INTERACTIVE),
        ({"service_tier": "flex"}, ServiceClass.BATCH),
        ({"pdmesh": {"service_class": "batch"}, "service_tier": "priority"}, ServiceClass.BATCH),
    ],
)
def test_service_classes(fields: dict[str, Any], expected: ServiceClass | None) -> None:
    assert chat(**fields).service_class is expected


def test_conversations_are_named_by_cache_key_before_user() -> None:
    assert chat(user="u").session_key == "u"
    assert chat(user="u", prompt_cache_key="k").session_key == "k"


def test_several_prompts() -> None:
    assert [prompt.text for prompt in completion(prompt=["a", "b"]).prompts] == ["a", "b"]
    assert [list(prompt.ids) for prompt in completion(prompt=[[1], [2, 3]]).prompts] == [[1], [2, 3]]


def test_text_parts_become_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert chat(messages=[{"role": "user", "content": parts}]).prompts[0].messages[0]["content"] == "a\nb"


def test_max_completion_tokens_has_precedence() -> None:
    assert chat(max_tokens=3, max_completion_tokens=5).sampling.max_tokens == 5


def asked(**fields: Any) -> Generation:
    return completion(**fields)


def test_what_fits() -> None:
    assert fit_max_tokens(chat(), 60, 100) == 40
    assert fit_max_tokens(completion(), 60, 100) == 16
    assert fit_max_tokens(completion(), 90, 100) == 10
    assert fit_max_tokens(chat(max_tokens=40), 60, 100) == 40


@pytest.mark.parametrize(
    ("generation", "prompt_tokens", "field"),
    [
        (chat(), 100, "messages"),
        (completion(), 101, "prompt"),
        (chat(max_tokens=41), 60, "max_tokens"),
        (chat(max_completion_tokens=41), 60, "max_completion_tokens"),
    ],
)
def test_what_does_not_fit(generation: Generation, prompt_tokens: int, field: str) -> None:
    with pytest.raises(PromptTooLong) as caught:
        fit_max_tokens(generation, prompt_tokens, 100)
    assert caught.value.field == field
    assert caught.value.reason == "context_length_exceeded"


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(InvalidField) as caught:
        fit_max_tokens(completion(prompt=""), 0, 100)
    assert caught.value.field == "prompt"


@pytest.mark.parametrize("field", ["logit_bias", "stop_token_ids"])
def test_tokens_outside_the_vocabulary_are_refused(field: str) -> None:
    generation = chat(**{field: {"100": 1} if field == "logit_bias" else [100]})
    check_vocabulary(generation, 101)
    with pytest.raises(InvalidField) as caught:
        check_vocabulary(generation, 100)
    assert caught.value.field == field


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)  # neither is JSON
    | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=6,
)
names = st.sampled_from(
    sorted({field.partition("[")[0].partition(".")[0] for field, _ in BAD_FIELDS} | {"prompt"})
)


@given(fields=st.dictionaries(names, json_values, max_size=4))
def test_any_json_is_taken_or_refused(fields: dict[str, Any]) -> None:
    for parse in (parse_chat, parse_completion):
        body = {"model": "m", "messages": HI, "prompt": "Hi", **fields}
        try:
            generation = parse(json.dumps(body).encode(), DEFAULTS)
        except Invalid as error:
            refused = error
            assert refused.field
        else:
            assert isinstance(generation, Generation)


@given(body=st.binary(max_size=60))
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        parse_chat(body, DEFAULTS)
