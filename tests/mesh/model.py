"""A model directory whose text tells its tokens: token id 261 + n reads " w<n>"."""

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from services.common.domain.tokens import tokens
from services.worker.engine.sim import expected_tokens, vocabulary
from tools import tiny_model

WORDS = 4_096
FIRST_WORD = 256 + len(tiny_model.SPECIAL_TOKENS)


def build(directory: Path) -> Path:
    """Bytes first, then the special tokens, then the words, which are what the sim engine speaks."""
    tiny_model.build(directory, with_weights=False)
    tokenizer().save(str(directory / "tokenizer.json"))
    config = json.loads((directory / "config.json").read_text())
    config["vocab_size"] = FIRST_WORD + WORDS
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def tokenizer() -> Tokenizer:
    """A byte-level tokenizer without merges, so that words are only ever generated."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *tiny_model.SPECIAL_TOKENS, *(f"Ġw{n}" for n in range(WORDS))]
    built = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    built.decoder = decoders.ByteLevel()
    built.add_special_tokens(list(tiny_model.SPECIAL_TOKENS))
    return built


def expected_text(directory: Path, prompt: Sequence[int], count: int) -> str:
    """The only right answer of the sim engine to a prompt of token ids."""
    ids = expected_tokens(tokens(prompt), count, vocabulary(str(directory)))
    return "".join(f" w{i - FIRST_WORD}" for i in ids)
