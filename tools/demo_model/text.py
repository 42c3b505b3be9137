"""Random text of many kinds: what gets copied, looked up or skipped over in the corpus."""

from __future__ import annotations

import string
from collections.abc import Callable
from random import Random
from typing import TypeVar

from tools.demo_model import words

SizeTokens = Callable[[str], int]
"""Number of tokens in a text, as the corpus builders need it to aim at a prompt length."""

Part = TypeVar("Part")

_ODD_MARKS = "!#$%&*+-/<=>?@^_~"


def word(rng: Random) -> str:
    """A common word, sometimes capitalised."""
    chosen = rng.choice(words.ALL)
    return chosen.capitalize() if rng.random() < 0.1 else chosen


def pseudo_word(rng: Random) -> str:
    """A pronounceable word that is (almost surely) in no list, two to four syllables."""
    syllables = (rng.choice(words.CONSONANTS) + rng.choice(words.VOWELS) for _ in range(rng.randint(1, 3)))
    tail = rng.choice(words.CONSONANTS) if rng.random() < 0.6 else ""
    made = "".join(syllables) + tail
    return made.capitalize() if rng.random() < 0.15 else made


def number(rng: Random) -> str:
    """A number of one to six digits without leading zero."""
    digits = rng.choice((1, 2, 2, 3, 3, 4, 4, 5, 6))
    return str(rng.randint(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1))


def code(rng: Random) -> str:
    """An identifier such as ``kq7x``, ``B-204`` or ``fox17``."""
    kind = rng.randrange(4)
    if kind == 0:
        return "".join(rng.choice(string.ascii_lowercase + string.digits) for _ in range(rng.randint(3, 8)))
    if kind == 1:
        return f"{rng.choice(string.ascii_uppercase)}{rng.choice('-_')}{number(rng)}"
    if kind == 2:
        return f"{rng.choice(words.NOUNS)}{rng.choice(('', '-', '_'))}{rng.randint(1, 99)}"
    return "".join(rng.choice(string.ascii_uppercase) for _ in range(rng.randint(2, 5)))


def sentence(rng: Random) -> str:
    """A grammatical sentence without meaning."""
    subject = f"the {rng.choice(words.ADJECTIVES)} {rng.choice(words.NOUNS)}"
    if rng.random() < 0.4:
        subject = rng.choice(words.NAMES)
    parts = [
        subject,
        rng.choice(words.VERBS),
        f"{rng.choice(('a', 'the', 'one', 'my'))} {rng.choice(words.NOUNS)}",
    ]
    if rng.random() < 0.6:
        parts.append(
            f"{rng.choice(words.LINKS)} the {rng.choice(words.ADJECTIVES)} {rng.choice(words.NOUNS)}"
        )
    if rng.random() < 0.3:
        parts.append(rng.choice((f"in {rng.choice(words.PLACES)}", rng.choice(words.TIMES))))
    made = " ".join(parts)
    return (made[0].upper() + made[1:] if rng.random() < 0.8 else made) + rng.choice(
        (".", ".", ".", "!", "?")
    )


def odd_string(rng: Random) -> str:
    """Letters, digits and marks without any pattern."""
    alphabet = string.ascii_letters + string.digits + _ODD_MARKS
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(2, 10)))


_PIECES: tuple[tuple[str, Callable[[Random], str]], ...] = (
    ("word", word),
    ("pseudo", pseudo_word),
    ("number", number),
    ("code", code),
    ("odd", odd_string),
)


def pieces(rng: Random, size: SizeTokens, budget_tokens: int) -> str:
    """Pieces of one or of mixed kinds, joined by one separator, filling about ``budget_tokens``."""
    kinds = rng.choice(
        (
            ("word",),
            ("word",),
            ("word", "pseudo"),
            ("number",),
            ("code",),
            ("pseudo",),
            ("word", "number"),
            ("word", "code", "number"),
            ("word", "pseudo", "odd", "code"),
        )
    )
    makers = [make for name, make in _PIECES if name in kinds]
    joiner = rng.choice((" ", " ", " ", " ", ", ", "; ", " - ", "\n"))
    return joiner.join(fill(lambda: rng.choice(makers)(rng), lambda s: size(joiner + s), budget_tokens))


def sentences(rng: Random, size: SizeTokens, budget_tokens: int) -> str:
    """Sentences filling about ``budget_tokens``."""
    joiner = rng.choice((" ", " ", "\n"))
    return joiner.join(fill(lambda: sentence(rng), size, budget_tokens))


def prose(rng: Random, size: SizeTokens, budget_tokens: int) -> str:
    """Either sentences or pieces."""
    return (sentences if rng.random() < 0.45 else pieces)(rng, size, budget_tokens)


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
