"""A tiny LoRA adapter with random weights for the tiny model, strong enough to change what it says."""

import json
from pathlib import Path

from tools.tiny_model import config

RANK = 4


def build_adapter(out_dir: Path, *, seed: int = 3) -> Path:
    """Write an adapter directory in PEFT's format; returns it."""
    import torch
    from safetensors.torch import save_file

    shape = config("float32")
    generator = torch.Generator().manual_seed(seed)
    hidden = shape["hidden_size"]
    widths = {"q_proj": hidden, "v_proj": shape["num_key_value_heads"] * shape["head_dim"]}
    weights = {}
    for layer in range(shape["num_hidden_layers"]):
        for name, width in widths.items():
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{prefix}.lora_A.weight"] = torch.randn(RANK, hidden, generator=generator) / hidden**0.5
            weights[f"{prefix}.lora_B.weight"] = torch.randn(width, RANK, generator=generator) / RANK**0.5
    out_dir.mkdir(parents=True)
    save_file(weights, out_dir / "adapter_model.safetensors", metadata={"format": "pt"})
    described = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "tiny",
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(widths),
    }
    (out_dir / "adapter_config.json").write_text(json.dumps(described))
    return out_dir
