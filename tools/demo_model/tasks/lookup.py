"""Look up a key in a table given in the prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tools.demo_model import text, words
from tools.demo_model.exchange import Exchange, Scene
from tools.demo_model.text import SizeTokens


@dataclass(frozen=True)
class Notation:
    """How one row is written; the answer repeats ``row`` without ``lead`` and ``tail``."""

    row: str
    lead: str = ""
    tail: str = "\n"


_NOTATIONS = (
    Notation("{k}: {v}"),
    Notation("{k}: {v}"),
    Notation("{k}: {v}"),
    Notation("{k} = {v}"),
    Notation("{k}: {v}", lead="- "),
    Notation("{k}: {v}", tail=", "),
)

_ASK = (
    "What is the value of {k}?",
    "What is {k}?",
    "Look up {k}.",
    "Look up {k} in the table.",
    "Find {k}.",
    "Which value belongs to {k}?",
    "Tell me the value of {k}.",
    "Please look up {k}.",
)
_INTROS = (
    "",
    "",
    "Here is a table:\n",
    "Table:\n",
    "Use this table.\n",
)

FRAME_TOKENS = 14
SPARE_KEYS = tuple(word for word in words.ALL if word not in words.KEYS)
"""For the longest tables, which need more keys than there are."""


def _pair(rng: Random) -> str:
    return f"{rng.choice(words.ADJECTIVES)} {rng.choice(words.NOUNS)}"


def _noun(rng: Random) -> str:
    return rng.choice(words.NOUNS)


_VALUES: tuple[Callable[[Random], str], ...] = (text.number, _noun, _pair)


def lookup(rng: Random, size: SizeTokens, budget_tokens: int) -> Scene:
    """A table that fills the budget and a question for one of its keys."""
    notation = rng.choice(_NOTATIONS)
    value = rng.choice(_VALUES)
    keys_left = [*SPARE_KEYS, *rng.sample(words.KEYS, len(words.KEYS))]
    rows: dict[str, str] = {}

    def add_row() -> str:
        key = keys_left.pop()
        rows[key] = notation.row.format(k=key, v=value(rng))
        return f"{notation.lead}{rows[key]}{notation.tail}"

    lines = text.fill(add_row, size, max(8, budget_tokens - FRAME_TOKENS))
    table = "".join(lines).rstrip(", \n")
    keys = list(rows)[: len(lines)]

    def ask(rng: Random) -> Exchange:
        key = rng.choice(keys)
        return Exchange("lookup", rng.choice(_ASK).format(k=key), rows[key], table)

    asked = ask(rng)
    question = f"{rng.choice(_INTROS)}{table}\n{asked.question}"
    return Scene(Exchange("lookup", question, asked.answer, table), ask)
