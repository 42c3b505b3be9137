"""Tokenizers of every kind that models have, small ones trained on the spot."""

import argparse
import inspect
import json
import textwrap
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tests.mesh.model import tokenizer as mesh
from tests.unit.gateway.model_directory import byte_level_tokenizer
from tools.tiny_model import tokenizer as tiny

DEMO = Path(__file__).resolve().parents[4] / "models/demo/tokenizer.json"
ADDED = (
    AddedToken("<|im_end|>", special=True, normalized=False),
    AddedToken("<|im_start|>", special=True, normalized=False),
    AddedToken("<tool call>", special=False, normalized=False),
    AddedToken("<mask>", special=True, lstrip=True, normalized=False),
    AddedToken("<right>", special=True, rstrip=True, normalized=False),
    AddedToken("word", special=False, single_word=True, normalized=False),
    AddedToken("<normal>", special=False, normalized=True),
    AddedToken("<|im_", special=False, normalized=False),
    AddedToken("Grüße", normalized=True),
)
"""One of every kind, some the beginnings of others."""
SPACES = AddedToken("  ", special=False, normalized=True)

_CORPUS = [
    inspect.getsource(textwrap),
    inspect.getsource(argparse)[:40_000],
    "Grüße aus Köln, 東京 и Москва 😀😀 and thanks. " * 20,
]
_BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _bpe(tokenizer: Tokenizer, *special: str, alphabet: list[str] | None = None) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=800, special_tokens=list(special), initial_alphabet=alphabet or [], show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def _split(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def _bytes_after(*splits: Any) -> Any:
    return pre_tokenizers.Sequence(
        [*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


def _with_bytes(tokenizer: Tokenizer) -> Tokenizer:
    """Give the vocabulary a token for each byte, as byte fallback needs them."""
    spec = json.loads(tokenizer.to_str())
    vocabulary = spec["model"]["vocab"]
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    if isinstance(vocabulary, list):
        vocabulary += [[name, -20.0] for name in names]
    else:
        vocabulary.update({name: len(vocabulary) + n for n, name in enumerate(names)})
    spec["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(spec))


def gpt2() -> Tokenizer:
    """Byte-level BPE with the first regular expression of its kind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _bpe(tokenizer, "<|endoftext|>", alphabet=_BYTES)


def roberta() -> Tokenizer:
    """Byte-level BPE that puts a space before a text, and marks around it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    _bpe(tokenizer, "<s>", "</s>", "<unk>", alphabet=_BYTES)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return tokenizer


def llama3() -> Tokenizer:
    """Byte-level BPE that takes whole words of the vocabulary first, and begins a text."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = _bytes_after(_split(_WORDS))
    tokenizer.decoder = decoders.ByteLevel()
    _bpe(tokenizer, "<|begin_of_text|>", "<|eot_id|>", alphabet=_BYTES)
    begin = processors.TemplateProcessing(
        single="<|begin_of_text|> $A",
        pair="<|begin_of_text|> $A <|begin_of_text|> $B",
        special_tokens=[("<|begin_of_text|>", 0)],
    )
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), begin])
    return tokenizer


def qwen() -> Tokenizer:
    """Byte-level BPE over composed characters, digits one by one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _bytes_after(_split(_WORDS.replace("{1,3}", "")))
    tokenizer.decoder = decoders.ByteLevel()
    return _bpe(tokenizer, alphabet=_BYTES)


def deepseek() -> Tokenizer:
    """Byte-level BPE behind several splits."""
    marks = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"
    words = (
        marks + r"[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _bytes_after(
        _split(r"\p{N}{1,3}"), _split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), _split(words)
    )
    tokenizer.decoder = decoders.ByteLevel()
    return _bpe(tokenizer, alphabet=_BYTES)


_STRIPPED = decoders.Sequence(
    [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
)


def llama2() -> Tokenizer:
    """BPE with byte fallback, spaces as U+2581, one put before every text."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = _STRIPPED
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    _bpe(tokenizer, "<unk>", "<s>", "</s>")
    tokenizer.pre_tokenizer = None
    tokenizer = _with_bytes(tokenizer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def mistral() -> Tokenizer:
    """The same with a pre-tokenizer that marks the first space only."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.decoder = _STRIPPED
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁")
    _bpe(tokenizer, "<unk>", "<s>", "</s>")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    return _with_bytes(tokenizer)


def gemma() -> Tokenizer:
    """BPE with byte fallback, nothing put before a text and nothing stripped."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    _bpe(tokenizer, "<unk>", "<bos>")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return _with_bytes(tokenizer)


def bert() -> Tokenizer:
    """WordPiece."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=800, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tokenizer


def _unigram(tokenizer: Tokenizer) -> Tokenizer:
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def t5() -> Tokenizer:
    """Unigram over compatibility forms."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return _unigram(tokenizer)


def unigram_bytes() -> Tokenizer:
    """Unigram with byte fallback."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return _with_bytes(_unigram(tokenizer))


def word_level() -> Tokenizer:
    """Whole words, and no decoder."""
    vocabulary = {"<unk>": 0, "a": 1, "the": 2, "def": 3, ".": 4}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def clip() -> Tokenizer:
    """BPE whose tokens say where a word ends."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.BPEDecoder("</w>")
    return _bpe(tokenizer, "<unk>")


def demo() -> Tokenizer:
    """The demo model's."""
    return Tokenizer.from_file(str(DEMO))


BYTE_LEVEL = (gpt2, llama3, qwen, deepseek, demo, byte_level_tokenizer, tiny, mesh)
BYTE_FALLBACK = (llama2, gemma, mistral, unigram_bytes)
OTHERS = (roberta, bert, t5, word_level, clip)
ALL = (*BYTE_LEVEL, *BYTE_FALLBACK, *OTHERS)
FAST = (*BYTE_LEVEL, llama2, gemma)
"""Those that the fast library takes."""
