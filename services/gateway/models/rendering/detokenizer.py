"""Tokens to text, a few at a time: what is returned, joined, is the text of all tokens at once."""

import codecs
from array import array
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Protocol

import msgspec
from tokenizers import Tokenizer

from services.gateway.models.rendering.decoder_chain import chain_of
from services.gateway.models.rendering.model_files import ModelFiles
from services.gateway.models.rendering.token_texts import BYTE_TOKEN, TokenTexts, byte_tokens, find_anchor
from services.gateway.models.rendering.tokenwise import TokenwiseDetokenizer

WINDOW_TOKENS = 6
"""Tokens before the newest ones that a general decoder is shown, so that it joins them rightly."""
WAIT_TOKENS_MAX = 64
"""Tokens that may wait for the rest of a character before they are shown as they are."""


class Detokenizer(Protocol):
    """One answer's decoder. Hidden tokens (special ones and end-of-sequence) give no text."""

    json_texts: Sequence[bytes | None]
    """By token id, what `push` would say as a JSON string, unless `is_cut`; None, and past the end: ask."""

    @property
    def is_cut(self) -> bool:
        """Whether the beginning of a character waits for its rest."""

    def push(self, ids: "array[int]") -> str:
        """The text that is certain after these tokens too; a character cut in two waits for its rest."""

    def finish(self) -> str:
        """What still waits, with U+FFFD for characters that never became whole."""


class Decoding:
    """Opens detokenizers for one model."""

    def __init__(self, files: ModelFiles) -> None:
        self._tokenizer = files.tokenizer
        self._eos = files.eos_ids
        self._hidden = files.special_ids | files.eos_ids
        self._is_byte_level = files.decoder is not None and files.decoder["type"] == "ByteLevel"
        self._chain = None if self._is_byte_level else chain_of(files.decoder)
        self._anchor = find_anchor(files.tokenizer, self._hidden)
        self._table = self._table_without(self._hidden)

    def open(self, prompt: "array[int] | None" = None, *, shows_special: bool = False) -> Detokenizer:
        """A detokenizer for one answer; with `shows_special` only end-of-sequence is hidden."""
        table = self._full_table if shows_special else self._table
        if isinstance(table, PieceTable):
            return ByteLevelDetokenizer(table)
        hidden = self._eos if shows_special else self._hidden
        before = [i for i in prompt[-WINDOW_TOKENS:] if i not in hidden] if prompt is not None else []
        if table is not None:
            return TokenwiseDetokenizer(table, has_begun=bool(before))
        return WindowDetokenizer(self._tokenizer, hidden, before, self._byte_ids)

    def token(self, token_id: int) -> tuple[str, bytes]:
        """One token's text and bytes."""
        if self._is_byte_level:
            piece = self._all_pieces.pieces[token_id]
            return piece.decode("utf-8", "replace"), piece
        text = (self._tokenizer.id_to_token(token_id) or "").replace("\u2581", " ")
        if BYTE_TOKEN.fullmatch(text):
            piece = bytes([int(text[3:5], 16)])
            return piece.decode("utf-8", "replace"), piece
        return text, text.encode("utf-8", "replace")

    def _table_without(self, hidden: frozenset[int]) -> "PieceTable | TokenTexts | None":
        """What each token says; `None` where that depends on other tokens."""
        if self._is_byte_level:
            return PieceTable(self._tokenizer, hidden)
        if self._chain is None or self._anchor is None:
            return None
        return TokenTexts(self._tokenizer, self._chain, hidden, self._anchor)

    @cached_property
    def _full_table(self) -> "PieceTable | TokenTexts | None":
        return self._table_without(self._eos)

    @cached_property
    def _byte_ids(self) -> Collection[int]:
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        return byte_tokens({token_id: name for name, token_id in vocabulary.items()}).keys()

    @cached_property
    def _all_pieces(self) -> "PieceTable":
        return PieceTable(self._tokenizer, frozenset())


class _Pieces(dict[int, bytes]):
    def __missing__(self, _: int) -> bytes:
        return b""


class _Texts(dict[int, str | None]):
    def __missing__(self, _: int) -> str:
        return ""


class PieceTable:
    """The bytes of every token of a byte-level vocabulary, and its text where the bytes are whole characters.

    Unknown and hidden ids have no bytes.
    """

    def __init__(self, tokenizer: Tokenizer, hidden: frozenset[int]) -> None:
        self.pieces = _Pieces()
        self.texts = _Texts()
        byte_of, vocabulary = byte_of_character(), tokenizer.get_vocab(with_added_tokens=True)
        self.json_texts: list[bytes | None] = [None] * (max(vocabulary.values(), default=-1) + 1)
        """By token id, the text as a JSON string; None where there is none, or no whole characters."""
        for token, token_id in vocabulary.items():
            if token_id not in hidden:
                piece = _piece(token, byte_of)
                self.pieces[token_id] = piece
                self.texts[token_id] = text = _whole_text(piece)
                self.json_texts[token_id] = _to_json(text) if text else None


_to_json = msgspec.json.encode


def byte_of_character() -> dict[str, int]:
    """Byte-level BPE's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 onwards."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}


def _piece(token: str, byte_of: dict[str, int]) -> bytes:
    """A token's bytes; one with characters outside the alphabet (an added token) stands for itself."""
    try:
        return bytes(byte_of[character] for character in token)
    except KeyError:
        return token.encode("utf-8")


def _whole_text(piece: bytes) -> str | None:
    try:
        return piece.decode("utf-8")
    except UnicodeDecodeError:
        return None


class ByteLevelDetokenizer:
    """Looks tokens up and decodes UTF-8 as it goes: exact, and a fraction of a microsecond per token.

    A decoder exists only while a character is cut in two.
    """

    __slots__ = ("_decoder", "_pieces", "_texts", "json_texts")

    def __init__(self, table: PieceTable) -> None:
        self._pieces = table.pieces
        self._texts = table.texts
        self.json_texts: Sequence[bytes | None] = table.json_texts
        self._decoder: codecs.BufferedIncrementalDecoder | None = None

    @property
    def is_cut(self) -> bool:
        """Whether the beginning of a character waits for its rest."""
        return self._decoder is not None

    def push(self, ids: "array[int]") -> str:
        """The text that is certain after these tokens too."""
        if self._decoder is None and len(ids) == 1:
            text = self._texts[ids[0]]
            if text is not None:
                return text
        return self._decode(ids)

    def finish(self) -> str:
        """What still waits."""
        return self._decoder.decode(b"", final=True) if self._decoder is not None else ""

    def _decode(self, ids: "array[int]") -> str:
        pieces = self._pieces
        decoder = self._decoder or _Utf8Decoder("replace")
        text: str = decoder.decode(b"".join([pieces[i] for i in ids]))
        self._decoder = decoder if decoder.buffer else None
        return text


_Utf8Decoder = codecs.getincrementaldecoder("utf-8")


class WindowDetokenizer:
    """For any other decoder: shows it a short window of tokens twice, and returns the difference.

    A text that ends in U+FFFD may be a character cut in two, and waits. The window does not begin within a
    run of tokens that are single bytes: the library makes all of it U+FFFD where a part of it is no UTF-8.
    """

    __slots__ = ("_bytes", "_hidden", "_ids", "_shown_count", "_shown_text", "_tokenizer")
    json_texts: Sequence[bytes | None] = ()
    is_cut = False

    def __init__(
        self,
        tokenizer: Tokenizer,
        hidden: frozenset[int],
        before: Sequence[int] = (),
        byte_ids: Collection[int] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._bytes = byte_ids
        self._hidden = hidden
        self._ids: list[int] = list(before)
        self._shown_count = len(self._ids)
        self._shown_text = self._decode(self._ids)

    def push(self, ids: "array[int]") -> str:
        """The text that is certain after these tokens too."""
        self._ids.extend([i for i in ids if i not in self._hidden])
        waiting = len(self._ids) - self._shown_count
        if not waiting:
            return ""
        text = self._decode(self._ids)
        if text.endswith("�") and waiting < WAIT_TOKENS_MAX:
            return ""
        return self._show(text)

    def finish(self) -> str:
        """What still waits."""
        return self._show(self._decode(self._ids)) if len(self._ids) > self._shown_count else ""

    def _show(self, text: str) -> str:
        new = text[len(self._shown_text) :]
        self._ids = self._ids[self._window_start() :]
        self._shown_count = len(self._ids)
        self._shown_text = self._decode(self._ids)
        return new

    def _window_start(self) -> int:
        ids = self._ids
        start, least = max(0, len(ids) - WINDOW_TOKENS), max(0, len(ids) - WAIT_TOKENS_MAX)
        while start > least and ids[start] in self._bytes:
            start -= 1
        return start

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text
