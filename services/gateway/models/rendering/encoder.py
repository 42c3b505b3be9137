"""Text to tokens: by `fastokens` where it gives exactly what `tokenizers` gives, else by `tokenizers`."""

import logging
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import fastokens
from tokenizers import Tokenizer

from services.common.domain.tokens import from_bytes, tokens
from services.gateway.models.rendering.probes import probes

FAST, EXACT = "fastokens", "tokenizers"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What a cache of segments has done: the texts between two added tokens, with their ids."""

    hits: int = 0
    misses: int = 0
    size_bytes: int = 0


class Encoder(Protocol):
    """Encodes texts. Thread-safe; other threads run meanwhile."""

    library: str
    """`FAST` or `EXACT`."""
    is_fast: bool
    refused_texts: int
    """Texts that the fast library could not encode, and the exact one did."""

    def encode(self, text: str, *, adds_special: bool) -> "array[int]":
        """A text's token ids; with `adds_special` with what the tokenizer puts around a text."""

    def cache_use(self) -> CacheUse:
        """What the cache has done so far; all zero where there is none."""


class ExactEncoder:
    """Hugging Face's `tokenizers` (an `Encoder`): it takes every tokenizer, and decides what is right."""

    library = EXACT
    is_fast = False
    refused_texts = 0

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str, *, adds_special: bool) -> "array[int]":
        """A text's token ids."""
        # `encode` would hold the interpreter lock throughout; the batch call lets other threads run.
        encoded = self._tokenizer.encode_batch_fast([text], add_special_tokens=adds_special)
        return tokens(encoded[0].ids)

    def cache_use(self) -> CacheUse:
        """There is no cache."""
        return CacheUse()


class FastEncoder:
    """`fastokens` (an `Encoder`): ten times as fast, and its ids come as the wire's own column.

    Its regular expressions have limits of their own; a text that meets one is encoded by the exact library.
    """

    library = FAST
    is_fast = True

    def __init__(self, fast: fastokens.Tokenizer, exact: ExactEncoder) -> None:
        self.refused_texts = 0
        self._fast = fast
        self._encode: Callable[[list[str], bool], tuple[bytes, bytes]] = fast.encode_batch_flat
        self._exact = exact

    def encode(self, text: str, *, adds_special: bool) -> "array[int]":
        """A text's token ids."""
        try:
            column, _ = self._encode([text], adds_special)
        except ValueError:
            self.refused_texts += 1
            return self._exact.encode(text, adds_special=adds_special)
        return from_bytes(column)

    def cache_use(self) -> CacheUse:
        """What the library's cache has done."""
        use = self._fast.segment_cache_stats()
        return CacheUse(use["hits"], use["misses"], use["bytes"]) if use else CacheUse()


def open_encoder(tokenizer: Tokenizer, name: str, *, cache_bytes: int) -> Encoder:
    """The fast encoder if it takes this tokenizer and passes the check, else the exact one.

    `name` is what the log calls the model. Takes as long as loading the tokenizer, and 50 to 100 ms more.
    """
    exact = ExactEncoder(tokenizer)
    try:
        fast = fastokens.Tokenizer.from_json_str(tokenizer.to_str())
    except Exception as error:  # the library raises nothing narrower for what it does not take
        return _exact_because(exact, name, f"fastokens does not take it: {error}")
    encoder = FastEncoder(fast, exact)
    different = first_difference(tokenizer, encoder, exact)
    if different is not None:
        return _exact_because(exact, name, f"fastokens encodes {different!a} differently")
    fast.enable_segment_cache(cache_bytes)
    _log.info("tokenizer of %s: fastokens, equal to tokenizers on all texts of the check", name)
    return encoder


def first_difference(tokenizer: Tokenizer, one: Encoder, other: Encoder) -> str | None:
    """The first text of the check that the two encode differently; `None` if there is none."""
    for text in probes(tokenizer):
        for adds_special in (False, True):
            if one.encode(text, adds_special=adds_special) != other.encode(text, adds_special=adds_special):
                return text
    return None


def _exact_because(exact: ExactEncoder, name: str, reason: str) -> ExactEncoder:
    _log.warning("tokenizer of %s: tokenizers, which costs about ten times the CPU; %s", name, reason)
    return exact
