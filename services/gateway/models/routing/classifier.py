"""Small or large: who decides for the name `auto`."""

import importlib
import re
from dataclasses import dataclass
from typing import Protocol, cast

from services.common.errors import BadSetting
from services.gateway.call.generation import ChatPrompt, Generation, Prompt, TextPrompt
from services.gateway.models.routing.entry import AutoEntry

LOOKED_AT_CHARS = 4_000
"""Of the last message; a question is at its begin or its end."""
CHARS_PER_TOKEN = 4
"""About what a token is in text, for prompts that come as tokens."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which of the two, and why, in a few words of ASCII."""

    is_large: bool
    reason: str


class Classifier(Protocol):
    """Decides for one call. Called on the event loop, so it has microseconds, and must not wait."""

    def classify(self, generation: Generation) -> Verdict:
        """The verdict on what a call asks for."""


class Points:
    """Counts points for cheap signs of hard work; enough of them are for the large model."""

    def __init__(self, entry: AutoEntry) -> None:
        self._entry = entry
        words = "|".join(map(re.escape, entry.question_words))
        self._questions = re.compile(rf"\b(?:{words})\b", re.IGNORECASE) if words else None

    def classify(self, generation: Generation) -> Verdict:
        """See `Classifier`."""
        entry = self._entry
        prompt = generation.prompts[0]
        signs = (
            ("long prompt", entry.long_prompt_points, chars_of(prompt) >= entry.long_prompt_chars),
            ("code", entry.code_points, has_code(prompt)),
            ("question", entry.question_points, self._asks(prompt)),
            (
                "long conversation",
                entry.long_conversation_points,
                messages_of(prompt) >= entry.long_conversation_messages,
            ),
            (
                "long answer",
                entry.long_answer_points,
                generation.sampling.max_tokens >= entry.long_answer_tokens,
            ),
            ("tools", entry.tools_points, generation.tools is not None),
        )
        seen = [(name, points) for name, points, is_there in signs if is_there and points]
        points = sum(points for _, points in seen)
        why = ", ".join(name for name, _ in seen) or "nothing hard"
        return Verdict(points >= entry.large_points, f"{why} ({points} of {entry.large_points} points)")

    def _asks(self, prompt: Prompt) -> bool:
        text = last_text(prompt)
        looked_at = text if len(text) <= LOOKED_AT_CHARS else text[:2_000] + " " + text[-2_000:]
        return self._questions is not None and self._questions.search(looked_at) is not None


def chars_of(prompt: Prompt) -> int:
    """About how long a prompt is as text."""
    if isinstance(prompt, ChatPrompt):
        return sum(len(_content(message)) for message in prompt.messages)
    return len(prompt.text) if isinstance(prompt, TextPrompt) else len(prompt.ids) * CHARS_PER_TOKEN


def messages_of(prompt: Prompt) -> int:
    """How many messages a conversation has; a plain prompt is one."""
    return len(prompt.messages) if isinstance(prompt, ChatPrompt) else 1


def has_code(prompt: Prompt) -> bool:
    """Whether there is a code fence anywhere."""
    if isinstance(prompt, ChatPrompt):
        return any("```" in _content(message) for message in prompt.messages)
    return isinstance(prompt, TextPrompt) and "```" in prompt.text


def last_text(prompt: Prompt) -> str:
    """The last message, or the prompt itself; empty for tokens."""
    if isinstance(prompt, ChatPrompt):
        return _content(prompt.messages[-1]) if prompt.messages else ""
    return prompt.text if isinstance(prompt, TextPrompt) else ""


def load_classifier(entry: AutoEntry) -> Classifier:
    """The classifier that `[auto]` names, made with its table; raises `BadSetting`."""
    if entry.classifier == "points":
        return Points(entry)
    module_name, colon, name = entry.classifier.partition(":")
    if not colon:
        raise BadSetting(f"[auto] classifier: {entry.classifier!r} is neither points nor MODULE:CLASS")
    try:
        made = getattr(importlib.import_module(module_name), name)(entry)
    except Exception as error:  # the operator's own code may raise anything
        raise BadSetting(f"[auto] classifier {entry.classifier}: {error!r}") from error
    if not callable(getattr(made, "classify", None)):
        raise BadSetting(f"[auto] classifier {entry.classifier}: has no method classify")
    return cast(Classifier, made)


def _content(message: object) -> str:
    """A message's text; parts that are no text count as none."""
    content = message.get("content") if hasattr(message, "get") else None
    return content if isinstance(content, str) else ""
