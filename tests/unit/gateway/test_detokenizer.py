"""Incremental decoding equals decoding everything at once, however the tokens come."""

import dataclasses
import json
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from services.common.domain.tokens import tokens
from services.gateway.models.rendering import ModelFiles
from services.gateway.models.rendering.detokenizer import (
    ByteLevelDetokenizer,
    Decoding,
    Detokenizer,
    WindowDetokenizer,
)
from tests.unit.gateway.model_directory import byte_level_tokenizer, write_model

VOCABULARY_SIZE = byte_level_tokenizer().get_vocab_size()
ids_in_pieces = st.lists(st.lists(st.integers(0, VOCABULARY_SIZE + 3), max_size=5), max_size=12)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    return ModelFiles.read(write_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def decoding(files: ModelFiles) -> Decoding:
    return Decoding(files)


def decoded(detokenizer: Detokenizer, pieces: list[list[int]]) -> str:
    return "".join(detokenizer.push(tokens(piece)) for piece in pieces) + detokenizer.finish()


@given(pieces=ids_in_pieces)
def test_any_tokens_in_any_pieces(files: ModelFiles, decoding: Decoding, pieces: list[list[int]]) -> None:
    ids = [i for piece in pieces for i in piece]
    whole = files.tokenizer.decode(ids, skip_special_tokens=True)
    assert decoded(decoding.open(), pieces) == whole
    assert decoded(WindowDetokenizer(files.tokenizer, files.special_ids | files.eos_ids), pieces) == whole


@given(text=st.text(max_size=40))
def test_any_text_token_by_token(files: ModelFiles, decoding: Decoding, text: str) -> None:
    pieces = [[i] for i in files.tokenizer.encode(text).ids]
    if not any(piece[0] in files.special_ids for piece in pieces):
        assert decoded(decoding.open(), pieces) == text


def test_a_character_cut_in_two_waits_for_its_rest(files: ModelFiles, decoding: Decoding) -> None:
    ids = files.tokenizer.encode("🦜").ids
    assert len(ids) > 1
    detokenizer = decoding.open()
    assert [detokenizer.push(tokens([i])) for i in ids] == [""] * (len(ids) - 1) + ["🦜"]


def test_a_character_that_never_becomes_whole_is_shown_as_such(files: ModelFiles, decoding: Decoding) -> None:
    detokenizer = decoding.open()
    assert detokenizer.push(tokens(files.tokenizer.encode("🦜").ids[:-1])) == ""
    assert detokenizer.finish() == "�"


def test_a_whole_token_does_not_overtake_a_cut_character(files: ModelFiles, decoding: Decoding) -> None:
    detokenizer = decoding.open()
    cut, whole = files.tokenizer.encode("🦜").ids[0], files.tokenizer.encode("a").ids[0]
    assert [detokenizer.push(tokens([i])) for i in (cut, whole, whole)] == ["", "�a", "a"]


def test_special_tokens_and_end_of_sequence_are_not_shown(files: ModelFiles, decoding: Decoding) -> None:
    ids = files.tokenizer.encode("<|im_start|>a<|im_end|>b<tool call>c<|end|>").ids
    assert decoded(decoding.open(), [ids]) == "ab<tool call>c"


def test_a_byte_level_model_gets_the_table(decoding: Decoding) -> None:
    assert isinstance(decoding.open(), ByteLevelDetokenizer)


@pytest.fixture(scope="module")
def byte_fallback() -> Tokenizer:
    """Llama's kind of tokenizer: words marked with U+2581, unknown characters as single bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(["the quick brown fox jumps over the lazy dog " * 30], trainer)
    spec = json.loads(tokenizer.to_str())
    vocabulary = spec["model"]["vocab"]
    for token in fallback:
        vocabulary.setdefault(token, len(vocabulary))
    return Tokenizer.from_str(json.dumps(spec))


@given(text=st.text(alphabet="the quickbrown 東😀é", min_size=1, max_size=30))
def test_other_decoders_token_by_token(byte_fallback: Tokenizer, text: str) -> None:
    ids = byte_fallback.encode(text, add_special_tokens=False).ids
    whole = byte_fallback.decode(ids)
    assert decoded(WindowDetokenizer(byte_fallback, frozenset()), [[i] for i in ids]) == whole


@given(text=st.text(alphabet="the quickbrown é", min_size=2, max_size=30), cut=st.integers(1, 20))
def test_other_decoders_go_on_after_the_prompt(byte_fallback: Tokenizer, text: str, cut: int) -> None:
    """As the library's own stream does, which is what vLLM uses."""
    before = byte_fallback.encode("the " + "quick brown "[:cut], add_special_tokens=False).ids
    ids = byte_fallback.encode(text, add_special_tokens=False).ids
    stream = decoders.DecodeStream(ids=before, skip_special_tokens=True)
    theirs = "".join(stream.step(byte_fallback, i) or "" for i in ids)
    ours = decoded(WindowDetokenizer(byte_fallback, frozenset(), tokens(before)), [[i] for i in ids])
    assert ours == theirs


def test_single_tokens_of_other_vocabularies(byte_fallback: Tokenizer, files: ModelFiles) -> None:
    decoding = Decoding(
        dataclasses.replace(
            files, tokenizer=byte_fallback, decoder=json.loads(byte_fallback.to_str())["decoder"]
        )
    )
    ids = byte_fallback.encode("the é", add_special_tokens=False).ids
    named = [decoding.token(i) for i in ids]
    assert b"".join(piece for _, piece in named) == " the é".encode()
    assert named[-1] == ("�", "é".encode()[1:])
    assert named[0][0].startswith(" ")


def test_single_tokens_of_a_byte_level_vocabulary(files: ModelFiles, decoding: Decoding) -> None:
    ids = files.tokenizer.encode("a京<|im_end|>").ids
    assert b"".join(decoding.token(i)[1] for i in ids) == "a京<|im_end|>".encode()
    assert decoding.token(10**6) == ("", b"")


def test_special_tokens_can_be_shown(files: ModelFiles, decoding: Decoding) -> None:
    ids = files.tokenizer.encode("<|im_start|>a<|im_end|>b").ids
    assert decoded(decoding.open(shows_special=True), [[i] for i in ids]) == "<|im_start|>ab"


def test_a_decoder_never_waits_for_ever(files: ModelFiles) -> None:
    detokenizer = WindowDetokenizer(files.tokenizer, frozenset())
    broken = files.tokenizer.encode("🦜").ids[0]
    shown = "".join(detokenizer.push(array("I", [broken])) for _ in range(200))
    assert shown.count("�") > 100


def test_reading_a_directory(tmp_path: Path) -> None:
    files = ModelFiles.read(write_model(tmp_path))
    assert files.decoder is not None
    assert files.decoder["type"] == "ByteLevel"
    assert len(files.special_ids) == 3
    assert files.eos_ids == {
        files.tokenizer.token_to_id("<|end|>"),
        files.tokenizer.token_to_id("<|im_end|>"),
    }
    assert files.vocabulary_size == VOCABULARY_SIZE + 8
