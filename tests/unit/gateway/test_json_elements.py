"""Counting the elements of JSON texts without making any."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidField
from services.common.limits import DEFAULTS
from services.gateway.rest.openai import json_elements
from services.gateway.rest.openai.chat import parse_chat
from services.gateway.rest.openai.json_body import decode_json
from services.gateway.rest.openai.json_elements import Elements, check_elements, structure_of

texts = st.text(alphabet='ab"\\[]{},:\n\u4e2d', max_size=12)
values = st.recursive(
    st.one_of(st.none(), st.integers(), texts),
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(texts, below, max_size=4)),
    max_leaves=30,
)


def objects_of(value: Any) -> int:
    """Lists, maps and entries of maps."""
    if isinstance(value, dict):
        return 1 + len(value) + sum(map(objects_of, value.values()))
    return 1 + sum(map(objects_of, value)) if isinstance(value, list) else 0


@given(value=values, size=st.integers(1, 9), ascii_only=st.booleans())
def test_exactly_what_is_outside_of_strings_counts(value: Any, size: int, ascii_only: bool) -> None:
    """However the text is cut into slices."""
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_elements, "SLICE_BYTES", size)
        structure = b"".join(structure_of(text))
    assert structure.count(b"[") + structure.count(b"{") + structure.count(b":") == objects_of(value)
    assert b'"' not in structure
    assert b"\\" not in structure


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * 40 + b"[]]",
        b"[" + b"{}," * 40 + b"{}]",
        b"{" + b'"a":1,' * 40 + b'"a":1}',
        b"[" + b"1," * 100 + b"1]",
        b"[" + b'"",' * 100 + b'""]',
        b"[" + b"[1]," * 40,
    ],
)
def test_too_many_elements_are_never_made(body: bytes) -> None:
    limits = dataclasses.replace(DEFAULTS, json_objects_max=30, json_elements_max=90)

    class Untouched:
        def decode(self, _: bytes) -> None:
            raise AssertionError("was decoded")

    with pytest.raises(InvalidField, match="too many elements"):
        decode_json(body, Untouched(), limits)  # type: ignore[arg-type]


def test_what_only_looks_like_elements_does_not_count() -> None:
    limits = dataclasses.replace(DEFAULTS, json_objects_max=3, json_elements_max=3, json_depth_max=2)
    check_elements(json.dumps({"a": '[{"x": [1, 2, 3, {}]}],,,,::::'}).encode(), limits)


@pytest.mark.parametrize("field", ["guided_json", "structured_outputs"])
def test_a_schema_as_text_is_counted_too(field: str) -> None:
    schema = '{"enum":[' + "[]," * 80_000 + "[]]}"
    value = schema if field == "guided_json" else {"json": schema}
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], field: value}
    with pytest.raises(InvalidField, match="too many elements"):
        parse_chat(json.dumps(body).encode(), DEFAULTS)


def arguments_of(texts: list[str]) -> list[Any]:
    """What becomes of the arguments of so many calls."""
    calls = [{"type": "function", "function": {"name": "f", "arguments": text}} for text in texts]
    messages = [{"role": "assistant", "content": "", "tool_calls": calls}]
    prompt = parse_chat(json.dumps({"model": "m", "messages": messages}).encode(), DEFAULTS).prompts[0]
    return [call["function"]["arguments"] for call in prompt.messages[0]["tool_calls"]]


def test_arguments_of_all_calls_count_together() -> None:
    large, small = '{"a":[' + "[]," * 3_000 + "[]]}", '{"a":1}'
    made = arguments_of([large] * 30 + [small])
    assert [bool(one) for one in made] == [True] * 21 + [False] * 9 + [True]


def test_deep_arguments_count_as_none() -> None:
    assert arguments_of(['{"a":' * 100 + "1" + "}" * 100, '{"a":{"b":1}}']) == [{}, {"a": {"b": 1}}]


def test_elements_say_how_deep_a_text_nests() -> None:
    assert Elements(DEFAULTS).take(b'[[{"a":[]}],[]]') == 4
    assert Elements(DEFAULTS).take(b'"[[[["') == 0
