"""Which prompts are rendered on the event loop."""

import types
from typing import Any

import pytest

from services.common.domain import Sampling
from services.gateway.call.generation import ChatPrompt, Generation, Prompt, TextPrompt
from services.gateway.call.inline import (
    INLINE_BODY_BYTES_MAX,
    INLINE_FAST_BODY_BYTES_MAX,
    INLINE_TEXTS_MAX,
    renders_inline,
)


def is_inline(size_bytes: int, *prompts: Prompt, is_fast: bool = True, is_ready: bool = True) -> bool:
    renderer: Any = types.SimpleNamespace(is_ready=is_ready, encoder=types.SimpleNamespace(is_fast=is_fast))
    return renders_inline(Generation("m", prompts, Sampling(1), size_bytes=size_bytes), renderer)


def chat(number: int = 1, **more: Any) -> ChatPrompt:
    return ChatPrompt([{"role": "user", "content": "x"}] * number, **more)


def test_short_calls_whatever_they_hold() -> None:
    tools = chat(500, variables={"tools": [{}]})
    assert is_inline(INLINE_BODY_BYTES_MAX, tools, is_fast=False)
    assert not is_inline(INLINE_BODY_BYTES_MAX + 1, tools)


def test_longer_texts_where_the_fast_library_encodes_them() -> None:
    for prompt in (chat(INLINE_TEXTS_MAX), TextPrompt("x")):
        assert is_inline(INLINE_FAST_BODY_BYTES_MAX, prompt)
        assert not is_inline(INLINE_FAST_BODY_BYTES_MAX + 1, prompt)
        assert not is_inline(INLINE_BODY_BYTES_MAX + 1, prompt, is_fast=False)


def test_none_while_something_is_to_be_loaded() -> None:
    assert not is_inline(1, chat(), is_ready=False)


@pytest.mark.parametrize(
    "prompts",
    [
        [chat(INLINE_TEXTS_MAX + 1)],
        [chat(INLINE_TEXTS_MAX - 1), TextPrompt("x"), TextPrompt("x")],
        [chat(variables={"tools": [{"type": "function"}]})],
        [chat(variables={"documents": [{"text": "x"}]})],
        [chat(edits=[lambda messages, measure: messages])],
        [ChatPrompt([{"role": "assistant", "content": "", "tool_calls": [{}]}])],
    ],
)
def test_not_what_a_template_takes_long_for(prompts: list[Prompt]) -> None:
    assert not is_inline(INLINE_BODY_BYTES_MAX + 1, *prompts)
