"""Writes the trained model as Hugging Face files."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from tools.demo_model import chat
from tools.demo_model import tokenizer as tokenizer_files
from tools.demo_model.model import Model


def export(model: Model, tokenizer: Tokenizer, out: Path) -> None:
    """``config.json``, ``generation_config.json``, tokenizer files and bf16 ``model.safetensors``."""
    out.mkdir(parents=True, exist_ok=True)
    token_ids = {
        "bos_token_id": None,
        "eos_token_id": tokenizer.token_to_id(chat.TURN_END),
        "pad_token_id": tokenizer.token_to_id(chat.END_OF_TEXT),
    }
    config = {**model.shape.hugging_face(), **token_ids, "dtype": "bfloat16"}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    generation = {**token_ids, "do_sample": False}
    (out / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    weights = {f"model.{n}": p.detach().to(torch.bfloat16).contiguous() for n, p in model.named_parameters()}
    save_file(weights, str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    tokenizer_files.save(tokenizer, out, model.shape.max_position_embeddings)
