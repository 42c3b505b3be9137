"""A model with random weights and much KV: 16 KiB per token, an eighth of an 8B model's in bf16."""

import json
from pathlib import Path

from tests.mesh import model as words
from tools import tiny_model

SHAPE = {
    "hidden_size": 512,
    "intermediate_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": words.FIRST_WORD + words.WORDS,
}
"""What makes KV: layers and key-value heads. What makes prefill dear, and is kept small: width."""


def build(directory: Path, seed: int = 5) -> Path:
    """A model directory whose text tells its tokens, so that none is held back for half a character."""
    from safetensors.torch import save_file

    words.build(directory)
    shape = tiny_model.config("bfloat16") | SHAPE
    (directory / "config.json").write_text(json.dumps(shape))
    save_file(tiny_model.weights(shape, seed), directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def kv_token_bytes(directory: Path) -> int:
    """KV bytes of one token in bf16, all layers, keys and values."""
    shape = json.loads((directory / "config.json").read_text())
    return 2 * 2 * int(shape["num_hidden_layers"] * shape["num_key_value_heads"] * shape["head_dim"])
