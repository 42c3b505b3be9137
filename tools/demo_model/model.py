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

    vocab_size: int = 2816
    hidden_size: int = 256
    intermediate_size: int = 384
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 64
    max_position_embeddings: int = 4096
    rope_theta: float = 1_000_000_000.0
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


PART = 128


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of q (rows, heads, positions, head_dim) to k, v (rows, kv_heads, ...), in parts."""
    rows, heads, positions, size = q.shape
    groups, share = rows * k.shape[1], heads // k.shape[1]
    q = q.reshape(groups, share, positions, size) * size**-0.5
    k, v = k.reshape(groups, positions, size).transpose(1, 2), v.reshape(groups, positions, size)
    parts = []
    for begin in range(0, positions, PART):
        end = min(positions, begin + PART)
        own = q[:, :, begin:end].reshape(groups, -1, size)
        scores = torch.bmm(own, k[:, :, :end]).view(groups, share, end - begin, end)
        future = torch.full((end - begin, end), float("-inf")).triu(begin + 1)
        shares = (scores + future).softmax(-1).view(groups, -1, end)
        parts.append(torch.bmm(shares, v[:, :end]).view(groups, share, end - begin, size))
    return torch.cat(parts, 2).view(rows, heads, positions, size)


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
        mixed = attend(q, k, v)
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


FIRST_LAYER_LOOKS = (1, 2, 3, 4)
"""How many tokens back each head of the first layer looks before it has learned anything."""

LOOKING_PAIRS = range(8)
BIAS_SIZE = 7.0


def look_back(attention: Attention, shape: Shape, offsets: tuple[int, ...]) -> None:
    """Start the heads as heads that look back by position, whatever the content.

    Under rotary embedding the score of a query bias R(-offset) b against a key bias b depends on the distance
    alone and peaks at ``offset``; a few fast rotations make the peak sharp. Copying needs such heads, and to
    start with them saves the tokens it takes to find them.
    """
    half = shape.head_dim // 2
    frequencies = shape.rope_theta ** (-torch.arange(0, shape.head_dim, 2).float() / shape.head_dim)
    group = shape.num_attention_heads // shape.num_key_value_heads
    with torch.no_grad():
        for head, offset in enumerate(offsets):
            rows = slice(head * shape.head_dim, (head + 1) * shape.head_dim)
            key_rows = slice(head // group * shape.head_dim, (head // group + 1) * shape.head_dim)
            size = torch.tensor([BIAS_SIZE if pair in LOOKING_PAIRS else 0.0 for pair in range(half)])
            attention.k_proj.bias[key_rows][:half] = size
            angles = offset * frequencies
            attention.q_proj.bias[rows] = torch.cat([size * angles.cos(), -size * angles.sin()])
            attention.q_proj.weight[rows] *= 0.1
            attention.k_proj.weight[key_rows] *= 0.1
