"""Passages in front of what the user asks."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from services.common.errors import InvalidField
from services.gateway.call.generation import ChatPrompt, Prompt, TextPrompt
from services.gateway.retrieval.report import Passage

PREFACE = "These passages may help; use what fits the question and ignore the rest."


def query_of(prompt: Prompt) -> str:
    """What to look for: the last user message, or the text; raises `InvalidField` where there is none."""
    if isinstance(prompt, ChatPrompt):
        return str(prompt.messages[_last_user(prompt.messages)]["content"])
    if isinstance(prompt, TextPrompt):
        return prompt.text
    raise InvalidField("retrieval: not with token ids", field="retrieval")


def with_passages(prompt: Prompt, passages: Sequence[Passage]) -> Prompt:
    """The prompt with the passages in front of the last user message, or of the text.

    Not in the system message: what comes before the last turn stays as it was, and in the prefix cache.
    """
    block = as_text(passages)
    if isinstance(prompt, ChatPrompt):
        at = _last_user(prompt.messages)
        asked = prompt.messages[at]
        told = {**asked, "content": f"{block}\n\n{asked['content']}"}
        return dataclasses.replace(prompt, messages=[*prompt.messages[:at], told, *prompt.messages[at + 1 :]])
    if isinstance(prompt, TextPrompt):
        return dataclasses.replace(prompt, text=f"{block}\n\n{prompt.text}")
    return prompt


def as_text(passages: Sequence[Passage]) -> str:
    """The passages, numbered, each under where it is from."""
    numbered = (f"[{number}] {one.source}\n{one.text}" for number, one in enumerate(passages, 1))
    return "\n\n".join([PREFACE, *numbered])


def _last_user(messages: Sequence[Mapping[str, Any]]) -> int:
    for at in range(len(messages) - 1, -1, -1):
        if messages[at]["role"] == "user":
            return at
    raise InvalidField("retrieval: there is no user message to look things up for", field="retrieval")
