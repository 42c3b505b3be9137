"""Cutting documents into passages."""

import re
from collections.abc import Iterator

_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.!?:;\n])\s+")


def cut(text: str, chars_max: int) -> list[str]:
    """Passages of at most `chars_max` characters that end with a paragraph or sentence where one fits.

    A passage holds as many whole paragraphs as fit; a longer one is cut between sentences, a longer sentence
    between words.
    """
    passages: list[str] = []
    held = ""
    for part in _parts(text, chars_max):
        if held and len(held) + 1 + len(part) > chars_max:
            passages.append(held)
            held = part
        else:
            held = f"{held}\n{part}" if held else part
    return [*passages, held] if held else passages


def _parts(text: str, chars_max: int) -> Iterator[str]:
    """Paragraphs, or pieces of those that are too long."""
    for paragraph in _PARAGRAPH.split(text):
        paragraph = paragraph.strip()
        if len(paragraph) <= chars_max:
            if paragraph:
                yield paragraph
        else:
            for sentence in _SENTENCE.split(paragraph):
                yield from _words(sentence, chars_max)


def _words(sentence: str, chars_max: int) -> Iterator[str]:
    while len(sentence) > chars_max:
        end = sentence.rfind(" ", 1, chars_max + 1)
        end = end if end > 0 else chars_max
        yield sentence[:end]
        sentence = sentence[end:].lstrip()
    if sentence:
        yield sentence
