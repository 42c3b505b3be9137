"""A stream's text is the tokenizer's own, for every kind of tokenizer and however the tokens are cut."""

import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders

from services.common.domain.tokens import tokens
from services.gateway.models.rendering import ModelFiles
from services.gateway.models.rendering.detokenizer import Decoding, WindowDetokenizer
from services.gateway.models.rendering.probes import probes
from services.gateway.models.rendering.template_sources import TemplateSources
from services.gateway.models.rendering.token_texts import byte_tokens
from services.gateway.models.rendering.tokenwise import TokenwiseDetokenizer
from tests.unit.gateway.rendering import kinds, shipped

Make = Callable[[], Tokenizer]
HARD = (
    *("😀😁😂", "a😀b😁c", "\n\n😀\n", "東京タワー" * 10, "é" * 30, "👨‍👩‍👧‍👦 🏳️‍🌈", "𝕏𝕐𝕑 ¶ ▁ ▁▁"),
    *(" 😀", "  a  ", "▁", "naïve café — “quotes” … ½ ①", "Москва и ἀρχή", "العَرَبِيَّة"),
    *("\u0000\u0001", "<0x41><0x0A>", "\ufffd😀\ufffd"),
)


def files_of(tokenizer: Tokenizer) -> ModelFiles:
    added = tokenizer.get_added_tokens_decoder()
    return ModelFiles(
        directory=Path("none"),
        tokenizer=tokenizer,
        decoder=json.loads(tokenizer.to_str())["decoder"],
        special_ids=frozenset(i for i, token in added.items() if token.special),
        eos_ids=frozenset(),
        vocabulary_size=tokenizer.get_vocab_size(),
        chat_templates=TemplateSources(""),
        named_tokens={},
    )


def frames(ids: list[int]) -> Iterator[list[list[int]]]:
    """Ways to cut: all at once, evenly, at random."""
    yield [ids]
    for size in (1, 2, 3, 5):
        yield [ids[start : start + size] for start in range(0, len(ids), size)]
    chosen, cut, start = random.Random(len(ids)), [], 0
    while start < len(ids):
        size = chosen.randint(0, 7)
        cut.append(ids[start : start + size])
        start += size
    yield cut


def assert_decodes(tokenizer: Tokenizer, decoding: Decoding, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False).ids[:2_000]
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    for cut in frames(ids):
        detokenizer = decoding.open()
        assert "".join(detokenizer.push(tokens(part)) for part in cut) + detokenizer.finish() == whole


@pytest.mark.parametrize("make", kinds.ALL)
@pytest.mark.parametrize("added", [(), kinds.ADDED], ids=["", "added tokens"])
def test_every_kind(make: Make, added: tuple[object, ...]) -> None:
    tokenizer = make()
    tokenizer.add_tokens(list(added))
    decoding = Decoding(files_of(tokenizer))
    for text in (*HARD, *probes(tokenizer, seed=3, mixed=60)):
        assert_decodes(tokenizer, decoding, text)


def test_real_vocabularies() -> None:
    for path in shipped.files():
        tokenizer = shipped.read(path, size=15_000)
        decoding = Decoding(files_of(tokenizer))
        for text in (*HARD, *probes(tokenizer, seed=3, mixed=20)):
            assert_decodes(tokenizer, decoding, text)


@pytest.mark.parametrize("make", [*kinds.BYTE_FALLBACK, kinds.bert, kinds.t5, kinds.word_level])
def test_after_a_prompt_as_the_library_s_own_stream(make: Make) -> None:
    tokenizer = make()
    decoding = Decoding(files_of(tokenizer))
    before = tokenizer.encode("the def", add_special_tokens=False).ids
    for text in ("the", " a", "😀😁😂", "def\nthe"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        stream = decoders.DecodeStream(ids=before, skip_special_tokens=True)
        theirs = "".join(stream.step(tokenizer, i) or "" for i in ids)
        detokenizer = decoding.open(tokens(before))
        assert "".join(detokenizer.push(tokens([i])) for i in ids) + detokenizer.finish() == theirs


@cache
def llama2() -> tuple[Tokenizer, Decoding]:
    tokenizer = kinds.llama2()
    return tokenizer, Decoding(files_of(tokenizer))


@given(ids=st.lists(st.integers(0, 1_100), max_size=30))
def test_any_tokens_of_a_vocabulary_with_bytes(ids: list[int]) -> None:
    tokenizer, decoding = llama2()
    opened = [decoding.open(), decoding.open()]
    whole = opened[0].push(tokens(ids)) + opened[0].finish()
    assert "".join(opened[1].push(tokens([i])) for i in ids) + opened[1].finish() == whole
    theirs = tokenizer.decode(ids, skip_special_tokens=True)
    if "\ufffd" not in whole:
        assert whole == theirs
    else:
        assert "\ufffd" in theirs


def test_what_was_whole_before_a_cut_character_stays() -> None:
    tokenizer, decoding = llama2()
    ids = tokenizer.encode("a😀😁", add_special_tokens=False).ids
    detokenizer = decoding.open()
    assert detokenizer.push(tokens(ids[:-1])) == "a😀"
    assert detokenizer.finish() == "\ufffd" * 3


def test_a_hidden_token_does_not_cut_a_character() -> None:
    tokenizer, decoding = llama2()
    ids = tokenizer.encode("a😀", add_special_tokens=False).ids
    with_hidden = tokens([*ids[:-1], tokenizer.token_to_id("</s>"), ids[-1]])
    assert decoding.open().push(with_hidden) == "a😀"


@pytest.mark.parametrize("make", [*kinds.BYTE_FALLBACK, kinds.bert, kinds.gpt2])
def test_texts_that_are_written_without_asking(make: Make) -> None:
    """A stream's later tokens are looked up as JSON strings while no character is cut."""
    tokenizer = make()
    decoding = Decoding(files_of(tokenizer))
    ids = tokenizer.encode("the def " + "".join(HARD), add_special_tokens=False).ids
    detokenizer, looked_up = decoding.open(), 0
    for token_id in ids:
        was_cut, ready = detokenizer.is_cut, detokenizer.json_texts[token_id]
        text = detokenizer.push(tokens([token_id]))
        if ready is not None and not was_cut:
            assert msgspec.json.decode(ready) == text
            looked_up += 1
    assert looked_up


def test_a_vocabulary_with_bytes_behind_a_decoder_of_another_kind() -> None:
    """Where texts depend on more than their token, a window is decoded, which does not begin within bytes."""
    tokenizer = kinds.gemma()
    bytes_first = [decoders.ByteFallback(), decoders.Replace("▁▁", "  "), decoders.Replace("▁", " ")]
    tokenizer.decoder = decoders.Sequence(bytes_first)
    decoding = Decoding(files_of(tokenizer))
    assert isinstance(decoding.open(), WindowDetokenizer)
    for text in ("😀😁😂", "a😀b😁c", "東京タワー" * 10, "é" * 30):
        assert_decodes(tokenizer, decoding, text)


def test_bytes_without_end_are_shown_in_time_and_forgotten() -> None:
    tokenizer, decoding = llama2()
    names = {token_id: name for name, token_id in tokenizer.get_vocab().items()}
    cut = next(token_id for token_id, byte in byte_tokens(names).items() if byte == 0xF0)
    assert isinstance(decoding.open(), TokenwiseDetokenizer)
    for detokenizer in (decoding.open(), WindowDetokenizer(tokenizer, frozenset(), (), {cut})):
        shown = "".join(detokenizer.push(tokens([cut])) for _ in range(300))
        assert shown.count("\ufffd") > 200
