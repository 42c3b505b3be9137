"""Random text: what gets copied, looked up or skipped over in the corpus."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeVar

from tools.demo_model import words

SizeTokens = Callable[[str], int]
"""Number of tokens in a text, as the corpus builders need it to aim at a prompt length."""

Part = TypeVar("Part")


def word(rng: Random) -> str:
    """A listed word."""
    return rng.choice(words.ALL)


def number(rng: Random) -> str:
    """A number of one to four digits without leading zero."""
    digits = rng.choice((1, 2, 2, 3, 3, 4))
    return str(rng.randint(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1))


def sentence(rng: Random) -> str:
    """A grammatical sentence without meaning.

    No set phrase of several words: a copy finds its place by the last four tokens, so these should be rare.
    """
    subject = rng.choice(words.NAMES)
    if rng.random() < 0.5:
        subject = f"{rng.choice(words.OPENINGS)} {rng.choice(words.ADJECTIVES)} {rng.choice(words.NOUNS)}"
    parts = [
        subject,
        rng.choice(words.VERBS),
        rng.choice(("a", "the", "one", "my")),
        rng.choice(words.ADJECTIVES),
        rng.choice(words.NOUNS),
    ]
    if rng.random() < 0.5:
        parts.append(f"{rng.choice(words.LINKS)} {rng.choice(words.PLACES + words.NAMES)}")
    return " ".join(parts) + "."


def pieces(rng: Random, size: SizeTokens, budget_tokens: int) -> str:
    """Words, or words and numbers, in one line, filling about ``budget_tokens``."""
    makers = rng.choice(((word,), (word,), (word, word, number)))
    joiner = rng.choice((" ", " ", ", "))
    return joiner.join(fill(lambda: rng.choice(makers)(rng), lambda s: size(joiner + s), budget_tokens))


def sentences(rng: Random, size: SizeTokens, budget_tokens: int) -> str:
    """Sentences in one line, filling about ``budget_tokens``."""
    return " ".join(fill(lambda: sentence(rng), size, budget_tokens))


def line(rng: Random, size: SizeTokens, budget_tokens: int) -> str:
    """Either sentences or pieces, without line breaks."""
    return (sentences if rng.random() < 0.5 else pieces)(rng, size, budget_tokens)


LINE_TOKENS = (8, 60)


def filler(rng: Random, size: SizeTokens, budget_tokens: int) -> str:
    """Lines filling about ``budget_tokens``."""

    lines: list[str] = []
    while budget_tokens >= LINE_TOKENS[0] or not lines:
        lines.append(line(rng, size, min(budget_tokens, rng.randint(*LINE_TOKENS))))
        budget_tokens -= size(lines[-1]) + 1
    return "\n".join(lines)


def fill(make: Callable[[], Part], size: Callable[[Part], int], budget_tokens: int) -> list[Part]:
    """Call ``make`` until the parts fill ``budget_tokens``; one part at least, then no overshoot."""
    parts = [make()]
    used_tokens = size(parts[0])
    while True:
        part = make()
        used_tokens += size(part)
        if used_tokens > budget_tokens:
            return parts
        parts.append(part)
