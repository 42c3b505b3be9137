"""The Llama architecture at demo size, written for training speed on a CPU; names follow Hugging Face's."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """Sizes of the model; the fields carry the names of ``config.json``."""

    vocab_size: int = 1024
    hidden_size: int = 192
    intermediate_size: int = 384
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 64
    max_position_embeddings: int = 4096
    rope_theta: float = 1_000_000.0
    rms_norm_eps: float = 1e-5

    def hugging_face(self) -> dict[str, object]:
        """Contents of ``config.json`` apart from token ids."""
        sizes = asdict(self)
        theta = sizes.pop("rope_theta")
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            **sizes,
            "rope_theta": theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": theta},
            "hidden_act": "silu",
            "attention_bias": True,
            "mlp_bias": False,
            "tie_word_embeddings": True,
        }


def rotary_table(shape: Shape, positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (positions, head_dim / 2)."""
    frequencies = shape.rope_theta ** (-torch.arange(0, shape.head_dim, 2).float() / shape.head_dim)
    angles = torch.arange(positions).float()[:, None] * frequencies
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of (batch, heads, positions, head_dim), halves paired as in Hugging Face's Llama."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class Attention(nn.Module):
    """Grouped-query attention with biases on all four projections."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = (
            shape.num_attention_heads,
            shape.num_key_value_heads,
            shape.head_dim,
        )
        self.q_proj = nn.Linear(shape.hidden_size, self.heads * self.head_dim)
        self.k_proj = nn.Linear(shape.hidden_size, self.kv_heads * self.head_dim)
        self.v_proj = nn.Linear(shape.hidden_size, self.kv_heads * self.head_dim)
        self.o_proj = nn.Linear(self.heads * self.head_dim, shape.hidden_size)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        rows, positions, _ = x.shape
        q = rotate(self.q_proj(x).view(rows, positions, self.heads, self.head_dim).transpose(1, 2), cos, sin)
        k = rotate(
            self.k_proj(x).view(rows, positions, self.kv_heads, self.head_dim).transpose(1, 2), cos, sin
        )
        v = self.v_proj(x).view(rows, positions, self.kv_heads, self.head_dim).transpose(1, 2)
        share = self.heads // self.kv_heads
        k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(rows, positions, -1))
        return out


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    """Attention and feed-forward, each behind a norm and added to the residual."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


FINAL_NORM_SCALE = 0.12
"""Brings the first logits to about unit size although the tied embeddings are large."""


class Model(nn.Module):
    """Token ids (rows, positions) to hidden states; the output matrix is the embedding."""

    def __init__(self, shape: Shape, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = nn.RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.cos, self.sin = rotary_table(shape, shape.max_position_embeddings)
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.embed_tokens.weight, std=0.5)
        nn.init.constant_(self.norm.weight, FINAL_NORM_SCALE)
        for name, parameter in self.layers.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                small = 0.5 if "o_proj" in name or "down_proj" in name else 1.0
                nn.init.normal_(parameter, std=small / math.sqrt(parameter.shape[1]))
        first = self.layers[0]
        assert isinstance(first, Layer)
        look_back(first.self_attn, self.shape, FIRST_LAYER_LOOKS)

    def forward(self, ids: Tensor) -> Tensor:
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        out: Tensor = self.norm(x)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary for any hidden states."""
        return functional.linear(hidden, self.embed_tokens.weight)


@dataclass(frozen=True)
class Look:
    """Where a head looks before it has learned anything: so many tokens back, sharply or blurred."""

    offset: int
    blurred: bool = False


FIRST_LAYER_LOOKS = (Look(1), Look(2), Look(3), Look(6, blurred=True))

SHARP_PAIRS = range(8)
BLURRED_PAIRS = range(3, 8)
BIAS_SIZE = 7.0


def look_back(attention: Attention, shape: Shape, looks: tuple[Look, ...]) -> None:
    """Start the first heads as heads that look back by position, whatever the content.

    Under rotary embedding the score of a query bias R(-offset) b against a key bias b depends on the distance
    alone and peaks at ``offset``; a few fast rotations make the peak sharp. Copying needs such heads, and to
    start with them saves the tokens it takes to find them.
    """
    half = shape.head_dim // 2
    frequencies = shape.rope_theta ** (-torch.arange(0, shape.head_dim, 2).float() / shape.head_dim)
    group = shape.num_attention_heads // shape.num_key_value_heads
    with torch.no_grad():
        for head, look in enumerate(looks):
            rows = slice(head * shape.head_dim, (head + 1) * shape.head_dim)
            key_rows = slice(head // group * shape.head_dim, (head // group + 1) * shape.head_dim)
            attention.k_proj.bias[key_rows][:half] = _on(SHARP_PAIRS, half)
            size = _on(BLURRED_PAIRS if look.blurred else SHARP_PAIRS, half)
            angles = look.offset * frequencies
            attention.q_proj.bias[rows] = torch.cat([size * angles.cos(), -size * angles.sin()])
            attention.q_proj.weight[rows] *= 0.1
            attention.k_proj.weight[key_rows] *= 0.1


def _on(pairs: range, half: int) -> Tensor:
    return torch.tensor([BIAS_SIZE if pair in pairs else 0.0 for pair in range(half)])
