"""Every token's text, where a text depends on its token alone."""

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from tokenizers import Tokenizer

from services.gateway.models.rendering.decoder_chain import DecoderChain

BYTE_TOKEN = re.compile("<0x[0-9A-Fa-f]{2}>")
"""How vocabularies with byte fallback write a single byte."""

_to_json = msgspec.json.encode


class _Texts(dict[int, str | None]):
    def __missing__(self, _: int) -> str:
        return ""


class TokenTexts:
    """What each token adds to a text, by the tokenizer's own decoder. Unknown and hidden ids add nothing."""

    def __init__(
        self, tokenizer: Tokenizer, chain: DecoderChain, hidden: frozenset[int], anchor: int
    ) -> None:
        self.chain = chain
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        names = {token_id: name for name, token_id in vocabulary.items() if token_id not in hidden}
        self.bytes = byte_tokens(names) if chain.has_bytes else {}
        """Of tokens that are a single byte."""
        plain = [i for i in names if i not in self.bytes]
        self.texts = _Texts(zip(plain, _behind(tokenizer, anchor, plain), strict=True))
        """After other tokens; `None` for single bytes."""
        self.texts.update(dict.fromkeys(self.bytes))
        self.first_texts = self.texts
        """As the first token of all."""
        if chain.first_differs:
            firsts = tokenizer.decode_batch([[i] for i in plain], skip_special_tokens=False)
            self.first_texts = _Texts(zip(plain, firsts, strict=True))
        self.json_texts: list[bytes | None] = [None] * (max(names, default=-1) + 1)
        """By token id, `texts` as a JSON string; `None` where it is empty, or no whole character."""
        for token_id, text in self.texts.items():
            self.json_texts[token_id] = _to_json(text) if text else None


def byte_tokens(names: Mapping[int, str]) -> dict[int, int]:
    """The byte that each token stands for which is a single one."""
    return {i: int(name[3:5], 16) for i, name in names.items() if BYTE_TOKEN.fullmatch(name)}


def find_anchor(tokenizer: Tokenizer, hidden: Iterable[int]) -> int | None:
    """A token whose text is a word whatever stands around it; others are decoded behind it."""
    hidden = frozenset(hidden)
    for token_id in range(tokenizer.get_vocab_size()):
        name = tokenizer.id_to_token(token_id) or ""
        if token_id not in hidden and name.isascii() and name.isalnum():
            return token_id
    return None


def _behind(tokenizer: Tokenizer, anchor: int, ids: Sequence[int]) -> list[str]:
    before = len(tokenizer.decode([anchor], skip_special_tokens=False))
    texts = tokenizer.decode_batch([[anchor, i] for i in ids], skip_special_tokens=False)
    return [text[before:] for text in texts]
