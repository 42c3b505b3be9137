"""Repeat after me, copy everything, recall something said long ago, and say which message was first."""

from __future__ import annotations

from random import Random

from tools.demo_model import text
from tools.demo_model.exchange import Exchange, Scene
from tools.demo_model.text import SizeTokens

REPEATED_TOKENS = (4, 50)
"""Length of a text to repeat; the rest of a longer prompt is other text around it."""

_REPEAT = (
    "Repeat after me: {}",
    "Repeat after me:\n{}",
    "repeat after me: {}",
    "Please repeat after me: {}",
    "Repeat: {}",
    "Say: {}",
    "Say this: {}",
    "Repeat this: {}",
)
_IGNORE = ("Ignore the rest.", "The rest does not matter.", "Here is more text:", "Say only that.")
_AGAIN = ("Repeat it again.", "Say it again.", "Once more, please.", "Again, please.")

_REMEMBER = (
    "Remember this: {}",
    "Please remember: {}",
    "The secret is: {}",
    "The password is: {}",
    "Note this down: {}",
)
_RECALL = (
    "What did I ask you to remember?",
    "What should you remember?",
    "Tell me what you had to remember.",
    "What did you note down?",
    "Do you remember it? Say it.",
    "What was the secret?",
    "What is the password?",
    "What is the secret?",
)

_FIRST = (
    "What was my first message?",
    "What did I say first?",
    "Which message was first?",
    "Repeat my first message.",
    "What was the first message?",
    "Say which message was first.",
)
_ACKNOWLEDGE = "OK."


def copy(rng: Random, size: SizeTokens, budget_tokens: int) -> Scene:
    """The text to repeat is all of the prompt."""
    body = text.line(rng, size, budget_tokens)
    return Scene(Exchange("copy", rng.choice(_REPEAT).format(body), body, body))


def repeat(rng: Random, size: SizeTokens, budget_tokens: int) -> Scene:
    """A short text to repeat, anywhere in a prompt that other text fills up."""
    body = text.line(rng, size, min(budget_tokens, rng.randint(*REPEATED_TOKENS)))
    question = _surrounded(rng, size, rng.choice(_REPEAT).format(body), budget_tokens)

    def ask(rng: Random) -> Exchange:
        return Exchange("repeat", rng.choice(_AGAIN), body, body)

    return Scene(Exchange("repeat", question, body, body), ask)


def _surrounded(rng: Random, size: SizeTokens, request: str, budget_tokens: int) -> str:
    spare_tokens = budget_tokens - size(request)
    before_tokens = int(spare_tokens * rng.random())
    after_tokens = spare_tokens - before_tokens - 8
    parts = [request]
    if before_tokens > text.LINE_TOKENS[0]:
        parts.insert(0, text.filler(rng, size, before_tokens))
    if after_tokens > text.LINE_TOKENS[0]:
        parts += [rng.choice(_IGNORE), text.filler(rng, size, after_tokens)]
    return "\n".join(parts)


def recall(rng: Random, size: SizeTokens, budget_tokens: int) -> Scene:
    """A short text to remember, then filler up to the budget, then the question."""
    note = text.line(rng, size, rng.randint(4, 40))
    filler_tokens = max(1, budget_tokens - size(note) - 20)
    before_tokens = int(filler_tokens * rng.random()) if rng.random() < 0.5 else 0
    before = text.filler(rng, size, before_tokens) + "\n" if before_tokens else ""
    after = text.filler(rng, size, filler_tokens - before_tokens)
    stated = rng.choice(_REMEMBER).format(note)

    def ask(rng: Random) -> Exchange:
        return Exchange("recall", rng.choice(_RECALL), note, note)

    question = f"{before}{stated}\n{after}\n{rng.choice(_RECALL)}"
    return Scene(Exchange("recall", question, note, note), ask)


def first_message(rng: Random, size: SizeTokens, budget_tokens: int) -> Scene:
    """A text to acknowledge, other exchanges in between, then the question for the first message."""
    opening = text.line(rng, size, rng.randint(5, 30))
    between: list[Exchange] = []
    used_tokens = size(opening)
    while used_tokens < budget_tokens:
        filler = text.line(rng, size, min(rng.randint(8, 120), max(8, budget_tokens - used_tokens)))
        used_tokens += size(filler) + 12
        between.append(Exchange("acknowledge", filler, _ACKNOWLEDGE, opening))

    def ask(rng: Random) -> Exchange:
        return Exchange("first_message", rng.choice(_FIRST), opening, opening)

    return Scene(Exchange("acknowledge", opening, _ACKNOWLEDGE, opening), ask, (*between, ask(rng)))
