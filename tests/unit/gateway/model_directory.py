"""A small model directory without weights: a byte-level tokenizer trained on the spot, a chat template."""

import inspect
import json
import textwrap
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|end|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = """\
{%- for message in messages %}
    {%- if message.role not in ["system", "user", "assistant", "tool"] %}
        {{- raise_exception("unknown role " + message.role) }}
    {%- endif %}
    {{- "<|im_start|>" + message.role + "\\n" + message.content + "<|im_end|>\\n" }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "<|im_start|>assistant\\n" }}
{%- endif %}
"""


def byte_level_tokenizer(vocabulary_size: int = 600) -> Tokenizer:
    """A byte-level BPE tokenizer with three special tokens and an added one that is shown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    corpus = inspect.getsource(textwrap) + "Grüße aus Köln, 東京 и Москва 😀😀 and thanks. " * 20
    tokenizer.train_from_iterator([corpus], trainer)
    tokenizer.add_tokens([AddedToken("<tool call>", special=False)])
    return tokenizer


def write_model(directory: Path) -> Path:
    """Write the directory's files; returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_level_tokenizer()
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {"eos_token": {"content": "<|im_end|>"}, "chat_template": TEMPLATE}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    config = {"vocab_size": tokenizer.get_vocab_size() + 8, "eos_token_id": tokenizer.token_to_id("<|end|>")}
    (directory / "config.json").write_text(json.dumps(config))
    return directory
