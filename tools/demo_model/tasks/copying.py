"""Repeat after me, recall something said long ago, and say which message was first."""

from __future__ import annotations

from random import Random

from tools.demo_model import text
from tools.demo_model.exchange import Exchange, Scene
from tools.demo_model.text import SizeTokens

_REPEAT_BEFORE = (
    "Repeat after me: {}",
    "Repeat after me:\n{}",
    "repeat after me: {}",
    "Please repeat after me: {}",
    "Repeat: {}",
    "Say: {}",
    "Say this: {}",
    "Repeat this text: {}",
    "Repeat the following text:\n{}",
    "Repeat exactly:\n{}",
    "Copy this: {}",
    "Copy the following text exactly:\n{}",
    "Echo: {}",
    "Please say exactly this: {}",
    "Can you repeat this? {}",
    "Write this again: {}",
)
_REPEAT_AFTER = (
    "{}\nRepeat the text above.",
    "{}\n\nRepeat that.",
    "{}\nSay that again.",
    "{}\nCopy the text above.",
)

_REMEMBER = (
    "Remember this: {}",
    "Remember this sentence: {}",
    "Please remember: {}",
    "Keep this in mind: {}",
    "The secret is: {}",
    "The password is: {}",
    "Note this down: {}",
    "Important: {}",
)
_RECALL = (
    "What did I ask you to remember?",
    "What should you remember?",
    "Repeat what I asked you to remember.",
    "What was the sentence to remember?",
    "Tell me what you had to remember.",
    "What did you note down?",
    "Now say what I asked you to remember.",
    "Do you remember it? Say it.",
    "What was the secret?",
    "What is the password?",
    "What is the secret?",
    "What was the important thing?",
)

_FIRST = (
    "What was my first message?",
    "What did I say first?",
    "Which message was first?",
    "Repeat my first message.",
    "What was the first thing I said?",
    "What was the first message?",
    "Say which message was first.",
    "How did this conversation begin?",
)
_ACKNOWLEDGE = "OK."


def repeat(rng: Random, size: SizeTokens, budget_tokens: int) -> Scene:
    """The whole text is to be repeated; it fills the budget."""
    body = text.prose(rng, size, budget_tokens)
    frame = rng.choice(_REPEAT_BEFORE if rng.random() < 0.8 else _REPEAT_AFTER)
    return Scene(Exchange("repeat", frame.format(body), body, body))


def recall(rng: Random, size: SizeTokens, budget_tokens: int) -> Scene:
    """A short text to remember, then filler up to the budget, then the question."""
    note = text.prose(rng, size, rng.randint(4, 40))
    filler_tokens = max(1, budget_tokens - size(note) - 20)
    before_tokens = int(filler_tokens * rng.random() ** 2 * 0.6) if rng.random() < 0.5 else 0
    before = text.prose(rng, size, before_tokens) + "\n" if before_tokens else ""
    after = text.prose(rng, size, filler_tokens - before_tokens)
    stated = rng.choice(_REMEMBER).format(note)

    def ask(rng: Random) -> Exchange:
        return Exchange("recall", rng.choice(_RECALL), note, note)

    question = f"{before}{stated}\n{after}\n{rng.choice(_RECALL)}"
    return Scene(Exchange("recall", question, note, note), ask)


def first_message(rng: Random, size: SizeTokens, budget_tokens: int) -> Scene:
    """A text to acknowledge, other exchanges in between, then the question for the first message."""
    opening = text.prose(rng, size, rng.randint(5, 30))
    between: list[Exchange] = []
    used_tokens = size(opening)
    while used_tokens < budget_tokens:
        filler = text.prose(rng, size, min(rng.randint(8, 120), max(8, budget_tokens - used_tokens)))
        used_tokens += size(filler) + 12
        between.append(Exchange("acknowledge", filler, _ACKNOWLEDGE, opening))

    def ask(rng: Random) -> Exchange:
        return Exchange("first_message", rng.choice(_FIRST), opening, opening)

    return Scene(Exchange("acknowledge", opening, _ACKNOWLEDGE, opening), ask, (*between, ask(rng)))
