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
    before: str = ""
    after: str = ""


_NOTATIONS = (
    Notation("{k}: {v}"),
    Notation("{k}: {v}"),
    Notation("{k} = {v}"),
    Notation("{k} -> {v}"),
    Notation("{k}: {v}", lead="- "),
    Notation("{k}: {v}", tail=", "),
    Notation("{k} = {v}", tail="; "),
    Notation("| {k} | {v} |", before="| key | value |\n| --- | --- |\n"),
    Notation("{k},{v}", before="key,value\n"),
    Notation('"{k}": "{v}"', tail=", ", before="{", after="}"),
    Notation("{k} is {v}", tail=". "),
    Notation("{k} has {v}", lead="The value of "),
)

_ASK_ROW = (
    "What is the value of {k}?",
    "What is {k}?",
    "Look up {k}.",
    "Look up {k} in the table.",
    "Find {k}.",
    "What is the entry for {k}?",
    "Which value belongs to {k}?",
    "Tell me the value of {k}.",
    "{k}?",
    "Please look up {k}.",
    "what is the value of {k}",
    "What does the table say about {k}?",
    "Get {k}.",
    "What value does {k} have?",
)
_ASK_VALUE = (
    "What is the value of {k}? Answer with the value only.",
    "Give only the value of {k}.",
    "Just the value of {k}, please.",
    "Only the value: {k}",
    "Value of {k} only.",
)
_INTROS = (
    "",
    "",
    "",
    "Here is a table:\n",
    "Table:\n",
    "Use this table.\n",
    "Look at this list:\n",
    "These are the values:\n",
)


def _distinct(rng: Random, make: Callable[[Random], str]) -> Callable[[], str]:
    seen: set[str] = set()

    def draw() -> str:
        while True:
            made = make(rng)
            if made.lower() not in seen:
                seen.add(made.lower())
                return made

    return draw


def _pair(rng: Random) -> str:
    return f"{rng.choice(words.ADJECTIVES)} {rng.choice(words.NOUNS)}"


_KEY_KINDS: tuple[Callable[[Random], str], ...] = (
    text.word,
    text.word,
    text.code,
    text.pseudo_word,
    _pair,
    lambda rng: rng.choice((text.word, text.code, text.pseudo_word, _pair, text.code))(rng),
)
_VALUE_KINDS: tuple[Callable[[Random], str], ...] = (
    text.number,
    text.number,
    text.word,
    text.code,
    text.pseudo_word,
    _pair,
    lambda rng: rng.choice((text.number, text.word, text.code))(rng),
)
_WORDS_IN_TABLE_MAX = 60


def lookup(rng: Random, size: SizeTokens, budget_tokens: int) -> Scene:
    """A table that fills the budget and a question for one of its keys."""
    notation = rng.choice(_NOTATIONS)
    kind = rng.choice(_KEY_KINDS)
    if budget_tokens > 8 * _WORDS_IN_TABLE_MAX and kind is text.word:
        kind = _KEY_KINDS[-1]
    value = rng.choice(_VALUE_KINDS)
    next_key = _distinct(rng, kind)
    rows: dict[str, str] = {}

    def add_row() -> str:
        key = next_key()
        rows[key] = notation.row.format(k=key, v=value_of.setdefault(key, value(rng)))
        return f"{notation.lead}{rows[key]}{notation.tail}"

    value_of: dict[str, str] = {}
    lines = text.fill(add_row, size, max(8, budget_tokens - 20))
    table = notation.before + "".join(lines).rstrip(", ;\n") + notation.after
    keys = list(rows)[: len(lines)]

    def ask(rng: Random) -> Exchange:
        key = rng.choice(keys)
        if rng.random() < 0.3:
            return Exchange("lookup_value", rng.choice(_ASK_VALUE).format(k=key), value_of[key], table)
        return Exchange("lookup", rng.choice(_ASK_ROW).format(k=key), rows[key], table)

    asked = ask(rng)
    intro = rng.choice(_INTROS)
    question = f"{intro}{table}\n{asked.question}"
    if rng.random() < 0.1:
        question = f"{asked.question}\n{table}"
    return Scene(Exchange(asked.task, question, asked.answer, table), ask)
