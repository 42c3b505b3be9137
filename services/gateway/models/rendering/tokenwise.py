"""Tokens to text for vocabularies with byte fallback, and others whose tokens have a text each."""

import codecs
from array import array
from collections.abc import Sequence

from services.gateway.models.rendering.token_texts import TokenTexts


def _mark_each(error: UnicodeError) -> tuple[str, int]:
    """As the tokenizers' library does: a byte token that is part of no character is shown as U+FFFD."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\ufffd" * (error.end - error.start), error.end


_ONE_MARK_EACH = "pdmesh-one-mark-each-byte"
codecs.register_error(_ONE_MARK_EACH, _mark_each)
_Utf8Decoder = codecs.getincrementaldecoder("utf-8")


class TokenwiseDetokenizer:
    """Looks tokens up, and makes characters of single bytes as they become whole (a `Detokenizer`).

    The library's own decoder shows a whole run of bytes as U+FFFD where its end is cut; a stream has shown
    the characters before the cut by then, and shows U+FFFD for the rest alone.
    """

    __slots__ = ("_decoder", "_has_begun", "_strips_left", "_texts", "json_texts")

    def __init__(self, texts: TokenTexts, *, has_begun: bool) -> None:
        self._texts = texts
        self._has_begun = has_begun
        self._strips_left = 0 if has_begun else texts.chain.stripped_max
        self._decoder: codecs.BufferedIncrementalDecoder | None = None
        self.json_texts: Sequence[bytes | None] = texts.json_texts

    @property
    def is_cut(self) -> bool:
        """Whether what comes next is more, or less, than the next token's text."""
        return self._decoder is not None or not self._has_begun or self._strips_left > 0

    def push(self, ids: "array[int]") -> str:
        """The text that is certain after these tokens too."""
        if len(ids) == 1 and not self.is_cut:
            text = self._texts.texts[ids[0]]
            if text is not None:
                return text
        return self._stripped("".join([self._text(token_id) for token_id in ids]))

    def finish(self) -> str:
        """What still waits."""
        return self._stripped(self._end_of_bytes())

    def _text(self, token_id: int) -> str:
        texts = self._texts
        if token_id not in texts.texts:
            return ""
        has_begun, self._has_begun = self._has_begun, True
        byte = texts.bytes.get(token_id)
        if byte is not None:
            return self._add_byte(byte)
        text = (texts.texts if has_begun else texts.first_texts)[token_id]
        return self._end_of_bytes() + (text or "")

    def _add_byte(self, byte: int) -> str:
        decoder = self._decoder or _Utf8Decoder(_ONE_MARK_EACH)
        text = decoder.decode(bytes((byte,)))
        self._decoder = decoder if decoder.buffer else None
        return self._replaced(text)

    def _end_of_bytes(self) -> str:
        decoder, self._decoder = self._decoder, None
        return decoder.decode(b"", final=True) if decoder is not None else ""

    def _replaced(self, text: str) -> str:
        for character, content in self._texts.chain.replaced_after:
            text = text.replace(character, content)
        return text

    def _stripped(self, text: str) -> str:
        while self._strips_left and text:
            self._strips_left -= 1
            if not text.startswith(self._texts.chain.stripped):
                self._strips_left = 0
                break
            text = text[1:]
        return text
