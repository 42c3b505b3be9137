"""A tiny BERT with random weights, and its vectors as transformers computes them."""

import json
from array import array
from collections.abc import Sequence
from pathlib import Path

from services.common.domain.embedding import vector
from tools.tiny_model import SPECIAL_TOKENS, tokenizer

POSITIONS = 128


def build(out_dir: Path, *, seed: int = 3) -> Path:
    """Write a model directory; returns it. Weights are large, so that texts differ."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    shape = BertConfig(
        vocab_size=256 + len(SPECIAL_TOKENS),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=POSITIONS,
        initializer_range=0.6,
    )
    out_dir.mkdir(parents=True)
    BertModel(shape).save_pretrained(out_dir)
    tokenizer().save(str(out_dir / "tokenizer.json"))
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": POSITIONS}
    (out_dir / "tokenizer_config.json").write_text(json.dumps(described))
    return out_dir


def vectors(model: Path, texts: Sequence[Sequence[int]]) -> "list[array[float]]":
    """The first token's last state, normalised: how an encoder pools that says nothing else of it."""
    import torch
    from transformers import BertModel

    network = BertModel.from_pretrained(model, dtype=torch.float32).eval()
    with torch.no_grad():
        states = [network(torch.tensor([list(ids)])).last_hidden_state[0, 0] for ids in texts]
    return [vector((state / state.norm()).tolist()) for state in states]
