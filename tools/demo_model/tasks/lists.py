"""Count, sort and reverse short lists; simple arithmetic; spelling."""

from __future__ import annotations

from random import Random

from tools.demo_model import words
from tools.demo_model.exchange import Exchange

COUNTED_MAX = 8
OPERAND_MAX = 20
SPELLED_LETTERS_MAX = 4


def count(rng: Random) -> Exchange:
    """How many words a list has."""
    items = rng.sample(words.NOUNS, rng.randint(1, COUNTED_MAX))
    listed = ", ".join(items)
    frame = rng.choice(("Count: {}", "How many words: {}", "Count the words: {}"))
    return Exchange("count", frame.format(listed), str(len(items)), f"count {listed}")


def sort(rng: Random) -> Exchange:
    """Ascending order of three to five different digits."""
    items = [str(digit) for digit in rng.sample(range(10), rng.randint(3, 5))]
    listed = ", ".join(items)
    frame = rng.choice(("Sort: {}", "Sort this list: {}", "Put in order: {}"))
    return Exchange("sort", frame.format(listed), ", ".join(sorted(items)), f"sort {listed}")


def reverse(rng: Random) -> Exchange:
    """Three to five words from the last to the first."""
    items = rng.sample(words.NOUNS, rng.randint(3, 5))
    listed = ", ".join(items)
    frame = rng.choice(("Reverse: {}", "Reverse this list: {}", "Say this list backwards: {}"))
    return Exchange("reverse", frame.format(listed), ", ".join(reversed(items)), f"reverse {listed}")


def arithmetic(rng: Random) -> Exchange:
    """Sums and differences of small numbers, no negative results."""
    a, b = rng.randint(0, OPERAND_MAX), rng.randint(0, OPERAND_MAX)
    operator = rng.choice("+-")
    if operator == "-":
        a, b = max(a, b), min(a, b)
    result = a + b if operator == "+" else a - b
    spoken = {"+": "plus", "-": "minus"}[operator]
    term = rng.choice((f"{a} {operator} {b}", f"{a} {operator} {b}", f"{a} {spoken} {b}"))
    frame = rng.choice(("What is {}?", "Compute {}.", "How much is {}?"))
    return Exchange("arithmetic", frame.format(term), f"{a} {operator} {b} = {result}", f"{a}{operator}{b}")


SPELLED = tuple(noun for noun in words.NOUNS if len(noun) <= SPELLED_LETTERS_MAX)


def spell(rng: Random) -> Exchange:
    """The letters of a short noun, joined by hyphens; the split is by word and wording."""
    word = rng.choice(SPELLED)
    frame = rng.choice(("Spell {}.", "Spell the word {}.", "How do you spell {}?", "Please spell {}."))
    asked = frame.format(word)
    return Exchange("spell", asked, "-".join(word), asked)


ALL = (count, sort, reverse, arithmetic, spell)
