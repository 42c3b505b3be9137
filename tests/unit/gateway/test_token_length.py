"""How many characters one token stands for, with tokenizers of several kinds."""

from collections.abc import Callable

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from services.gateway.models.rendering.token_length import chars_per_token_max
from tests.unit.gateway.model_directory import byte_level_tokenizer


def length_of(tokenizer: Tokenizer) -> int | None:
    return chars_per_token_max(tokenizer, lambda text: tokenizer.encode(text, add_special_tokens=False).ids)


def word_piece() -> Tokenizer:
    vocabulary = {"[UNK]": 0, "a": 1, "##a": 2}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def fused_unknown() -> Tokenizer:
    vocabulary = {"<unk>": 0, "a": 1}
    return Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", fuse_unk=True))


def without_blanks() -> Tokenizer:
    tokenizer = byte_level_tokenizer()
    tokenizer.normalizer = normalizers.Replace(" ", "")
    return tokenizer


@pytest.mark.parametrize("make", [word_piece, fused_unknown, without_blanks])
def test_tokenizers_that_swallow_text_have_no_such_number(make: Callable[[], Tokenizer]) -> None:
    assert length_of(make()) is None


def test_it_is_the_longest_token_where_none_swallows_text() -> None:
    tokenizer = byte_level_tokenizer()
    longest = max(map(len, tokenizer.get_vocab()))
    assert length_of(tokenizer) == longest
    tokenizer.add_tokens([AddedToken("<" + "very " * 20 + "long>")])
    assert length_of(tokenizer) == 106


def test_a_normaliser_that_shortens_counts() -> None:
    tokenizer = Tokenizer(models.BPE({"a": 0, "\ud55c": 1, "<unk>": 2}, [], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFC()
    assert length_of(tokenizer) == 5  # the token that is never made of a text; three jamos are one otherwise
    tokenizer = Tokenizer(models.BPE({"a": 0, "\ud55c": 1, "?": 2}, [], unk_token="?"))
    tokenizer.normalizer = normalizers.NFC()
    assert length_of(tokenizer) == 3
