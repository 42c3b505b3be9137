"""Texts as vectors."""

import importlib
import math
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

from services.common.errors import BadSetting

_WORD = re.compile(r"\w+")
_COMMON_WORDS = (
    "a an and are as at be by can do does for from has have how i if in is it its of on or so that the their "
    "there this to was we what when where which who why will with you your "
    "das dem den der des die ein eine einer es für im ist mit und von war was wer wie zu zum zur"
)
"""They say nothing of a text's subject."""
_COMMON = frozenset(_COMMON_WORDS.split())
PIECE_CHARS = 4
PIECES_WEIGHT = 0.5
"""All pieces of a word together, beside the word itself: `retrieval` and `retriever` are then alike."""


class Embedder(Protocol):
    """Makes vectors of texts; those of related texts lie close. Called in a thread of its own."""

    name: str
    """Tells vectors of one embedder from those of another."""
    dimensions: int

    def embed(self, texts: Sequence[str]) -> "list[array[float]]":
        """One vector of `dimensions` 32-bit floats for each text."""


class HashingEmbedder:
    """Counts words and pieces of words in hashed dimensions: no model, no download, any language.

    It finds texts that share words with a query, also inflected ones; a synonym needs a model.
    """

    def __init__(self, dimensions: int = 1_024) -> None:
        self.name = f"hashing-{dimensions}-1"
        self.dimensions = dimensions

    def embed(self, texts: Sequence[str]) -> "list[array[float]]":
        """Unit vectors; one of zeros for a text without words."""
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> "array[float]":
        made = array("f", bytes(4 * self.dimensions))
        words = Counter(word for word in _WORD.findall(text.casefold()) if word not in _COMMON)
        for word, count in words.items():
            for feature, weight in _features(word):
                hashed = zlib.crc32(feature.encode())
                sign = 1.0 if hashed & 1 else -1.0
                made[(hashed >> 1) % self.dimensions] += sign * weight * (1.0 + math.log(count))
        length = math.sqrt(sum(value * value for value in made))
        return array("f", [value / length for value in made]) if length else made


def _features(word: str) -> Iterator[tuple[str, float]]:
    """A word, and its overlapping pieces, with their weights."""
    yield word, 1.0
    marked = f"<{word}>"
    starts = range(len(marked) - PIECE_CHARS + 1)
    for start in starts:
        yield "#" + marked[start : start + PIECE_CHARS], PIECES_WEIGHT / math.sqrt(len(starts))


def open_embedder(name: str) -> Embedder:
    """The embedder of a setting; raises `BadSetting` for one that is not there."""
    if name == "hashing":
        return HashingEmbedder()
    module, _, attribute = name.partition(":")
    try:
        made: Embedder = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, ValueError) as error:
        raise BadSetting(f"--embedder: {name!r} is neither `hashing` nor MODULE:CLASS: {error}") from None
    return made
