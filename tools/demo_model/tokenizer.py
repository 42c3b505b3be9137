"""The tokenizer: byte-level BPE of 2 816 entries, digits two by two, ChatML marks as special tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tools.demo_model import chat

VOCAB_SIZE = 2816
SPECIAL = (chat.END_OF_TEXT, chat.TURN_START, chat.TURN_END)
TOOL_MARKS = (chat.TOOL_CALL_OPEN, chat.TOOL_CALL_CLOSE)
PIECE_PATTERN = r" ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"


def build(lines: Iterable[str], vocab_size: int = VOCAB_SIZE) -> Tokenizer:
    """Train the BPE merges on ``lines``; the marks take the first ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECE_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    marks = [AddedToken(mark, special=True, normalized=False) for mark in SPECIAL]
    marks += [AddedToken(mark, special=False, normalized=False) for mark in TOOL_MARKS]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=marks,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def save(tokenizer: Tokenizer, out: Path, positions_max: int) -> None:
    """Write ``tokenizer.json``, ``tokenizer_config.json`` and the chat template."""
    tokenizer.save(str(out / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": chat.TURN_END,
        "pad_token": chat.END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        "model_max_length": positions_max,
        "chat_template": chat.TEMPLATE,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (out / "chat_template.jinja").write_text(chat.TEMPLATE)
