"""Build a tiny Llama with random weights: `python -m tools.tiny_model OUT_DIR`.

Its text is noise; it exists to compare engines token for token. Weights are drawn from a seed and scaled so
that the next token depends on all of the context: the residual stream is dominated by what attention brings,
and attention is peaked, so that it does not average a long prompt away.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

if TYPE_CHECKING:  # torch is imported only where weights are made: the sim engine needs none
    import torch

SPECIAL_TOKENS = ("<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
BEGIN, END = 256, 257

CHAT_TEMPLATE = (
    "{{ '<|begin|>' }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def config(dtype: str) -> dict[str, Any]:
    """The model's `config.json`: four layers, grouped-query attention, 4 096 positions."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 256 + len(SPECIAL_TOKENS),
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "hidden_act": "silu",
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": BEGIN,
        "eos_token_id": END,
        "torch_dtype": dtype,
    }


def weights(shape: dict[str, Any], seed: int) -> "dict[str, torch.Tensor]":
    """All weights, drawn in a fixed order from one generator."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    hidden, inner, vocab = shape["hidden_size"], shape["intermediate_size"], shape["vocab_size"]
    kv_width = shape["num_key_value_heads"] * shape["head_dim"]
    dtype: torch.dtype = getattr(torch, shape["torch_dtype"])

    def draw(rows: int, columns: int, gain: float) -> "torch.Tensor":
        drawn = torch.randn(rows, columns, generator=generator) * gain / columns**0.5
        matrix: torch.Tensor = drawn.to(dtype)
        return matrix

    out = {"model.embed_tokens.weight": draw(vocab, hidden, 3.0)}
    for i in range(shape["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        out[f"{layer}.self_attn.q_proj.weight"] = draw(hidden, hidden, 2.6)
        out[f"{layer}.self_attn.k_proj.weight"] = draw(kv_width, hidden, 2.6)
        out[f"{layer}.self_attn.v_proj.weight"] = draw(kv_width, hidden, 2.0)
        out[f"{layer}.self_attn.o_proj.weight"] = draw(hidden, hidden, 2.0)
        out[f"{layer}.mlp.gate_proj.weight"] = draw(inner, hidden, 1.0)
        out[f"{layer}.mlp.up_proj.weight"] = draw(inner, hidden, 1.0)
        out[f"{layer}.mlp.down_proj.weight"] = draw(hidden, inner, 1.0)
        out[f"{layer}.input_layernorm.weight"] = torch.ones(hidden, dtype=dtype)
        out[f"{layer}.post_attention_layernorm.weight"] = torch.ones(hidden, dtype=dtype)
    out["model.norm.weight"] = torch.ones(hidden, dtype=dtype)
    out["lm_head.weight"] = draw(vocab, hidden, 4.0)
    return out


def tokenizer() -> Tokenizer:
    """One token per byte, then the special tokens; no merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    built = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    built.decoder = decoders.ByteLevel()
    built.add_special_tokens(list(SPECIAL_TOKENS))
    return built


def build(out_dir: Path, *, dtype: str = "float32", seed: int = 7, with_weights: bool = True) -> Path:
    """Write a model directory that vLLM, transformers and the gateway can load; returns it.

    Without weights it serves the gateway and the sim engine, and needs no torch.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    shape = config(dtype)
    if with_weights:
        from safetensors.torch import save_file

        save_file(weights(shape, seed), out_dir / "model.safetensors", metadata={"format": "pt"})
    tokenizer().save(str(out_dir / "tokenizer.json"))
    _write_json(out_dir / "config.json", shape)
    _write_json(out_dir / "generation_config.json", {"bos_token_id": BEGIN, "eos_token_id": END})
    _write_json(
        out_dir / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": SPECIAL_TOKENS[0],
            "eos_token": SPECIAL_TOKENS[1],
            "model_max_length": shape["max_position_embeddings"],
            "chat_template": CHAT_TEMPLATE,
        },
    )
    return out_dir


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    """Build one model directory from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--no-weights", action="store_true", help="only configuration and tokenizer")
    chosen = parser.parse_args()
    with_weights = not chosen.no_weights
    print(build(chosen.out_dir, dtype=chosen.dtype, seed=chosen.seed, with_weights=with_weights))


if __name__ == "__main__":
    main()
