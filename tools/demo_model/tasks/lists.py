"""Count, sort and reverse short lists; simple arithmetic; spelling."""

from __future__ import annotations

from random import Random

from tools.demo_model import text, words
from tools.demo_model.exchange import Exchange

ITEMS_MAX = 6


def _items(rng: Random, numbers: bool) -> list[str]:
    count = rng.randint(2, ITEMS_MAX)
    if numbers:
        return [str(n) for n in rng.sample(range(100), count)]
    return rng.sample(words.NOUNS, count)


def count(rng: Random) -> Exchange:
    """How many items a list has (1 to 9)."""
    items = [text.word(rng).lower() for _ in range(rng.randint(1, 9))]
    listed = ", ".join(items)
    frame = rng.choice(
        ("Count: {}", "How many items are in this list: {}", "Count the words: {}", "How many words: {}")
    )
    return Exchange("count", frame.format(listed), str(len(items)), f"count {listed}")


def sort(rng: Random) -> Exchange:
    """Ascending order of numbers below 100, or alphabetical order of words."""
    numbers = rng.random() < 0.6
    items = _items(rng, numbers)
    ordered = sorted(items, key=int) if numbers else sorted(items)
    listed = ", ".join(items)
    frame = rng.choice(("Sort: {}", "Sort this list: {}", "Put in order: {}", "Sort these: {}"))
    return Exchange("sort", frame.format(listed), ", ".join(ordered), f"sort {listed}")


def reverse(rng: Random) -> Exchange:
    """The list from its last item to its first."""
    items = _items(rng, rng.random() < 0.4)
    listed = ", ".join(items)
    frame = rng.choice(
        ("Reverse: {}", "Reverse this list: {}", "Say this list backwards: {}", "Reverse the order: {}")
    )
    return Exchange("reverse", frame.format(listed), ", ".join(reversed(items)), f"reverse {listed}")


def arithmetic(rng: Random) -> Exchange:
    """Sums and differences below 100, products of one-digit numbers."""
    operator = rng.choice("++-*")
    if operator == "*":
        a, b = rng.randint(0, 9), rng.randint(0, 9)
    else:
        limit = rng.choice((10, 20, 50))
        a, b = rng.randrange(limit), rng.randrange(limit)
    if operator == "-":
        a, b = max(a, b), min(a, b)
    result = {"+": a + b, "-": a - b, "*": a * b}[operator]
    spoken = {"+": "plus", "-": "minus", "*": "times"}[operator]
    term = rng.choice(
        (f"{a} {operator} {b}", f"{a} {operator} {b}", f"{a} {spoken} {b}", f"{a}{operator}{b}")
    )
    frame = rng.choice(
        ("What is {}?", "what is {}", "Compute {}.", "{} = ?", "How much is {}?", "Calculate {}.")
    )
    return Exchange("arithmetic", frame.format(term), f"{a} {operator} {b} = {result}", f"{a}{operator}{b}")


def spell(rng: Random) -> Exchange:
    """The letters of a word, joined by hyphens."""
    word = rng.choice(words.ALL) if rng.random() < 0.8 else text.pseudo_word(rng)
    frame = rng.choice(("Spell {}.", "Spell the word {}.", "How do you spell {}?", "spell {}", "Spell: {}"))
    asked = frame.format(word)
    return Exchange("spell", asked, "-".join(word), f"spell {word}")


ALL = (count, sort, reverse, arithmetic, spell)
