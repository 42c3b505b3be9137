"""How the model starts: word forms that resemble each other, and heads that match and copy."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from tools.demo_model.model import Attention, Layer, Model, Shape

WORD_WIDTH = 128
"""So many of the residual's dimensions hold the word that stands here; the others, what stood before it."""

SLOTS = 4
SHARED, OWN, FORM = 0.9, 0.3, 0.3
"""Shares of an embedding that all forms of a word have in common, that are its own, that mark its form."""

EMBEDDING_SIZE = 0.7
SPACE = "Ġ"


def resemble(model: Model, tokenizer: Tokenizer, seed: int) -> None:
    """Start `` fox``, ``fox`` and ``Fox`` near each other: to copy one as another is then easy to learn."""
    random = torch.Generator().manual_seed(seed)
    tokens = [tokenizer.id_to_token(n) or "" for n in range(model.shape.vocab_size)]
    common: dict[str, Tensor] = {}
    spaced, capital = torch.randn(2, WORD_WIDTH, generator=random)
    with torch.no_grad():
        model.embed_tokens.weight.zero_()
        for row, token in enumerate(tokens):
            plain = token.removeprefix(SPACE).lower()
            if plain not in common:
                common[plain] = torch.randn(WORD_WIDTH, generator=random)
            made = SHARED * common[plain] + OWN * torch.randn(WORD_WIDTH, generator=random)
            made += FORM * (spaced * token.startswith(SPACE) + capital * (token.lower() != token))
            model.embed_tokens.weight[row, :WORD_WIDTH] = EMBEDDING_SIZE * made


WRITE_SIZE, MATCH_SIZE, COPY_SIZE = 1.0, 2.0, 2.0
"""How strongly the first layer writes, the second compares, and the second copies."""

DEPTHS = (3, 4)
"""How many tokens the heads of each key-value group compare."""

NOISE = 0.1
"""What is left of the random start where the start is chosen."""

SLOW_PAIRS_FROM = 12
"""Rotary pairs from here on turn so slowly that content can be compared over thousands of positions."""


def match(model: Model, seed: int) -> None:
    """Let the second layer's heads look for places before which stood what stands here.

    The first layer's heads write the tokens 1, 2, 3 ... back into slots of the residual, one each. The second
    layer compares what stands here with what stood before there, and copies what it finds.
    """
    random = torch.Generator().manual_seed(seed)
    first, second = model.layers[0], model.layers[1]
    assert isinstance(first, Layer)
    assert isinstance(second, Layer)
    slot = (model.shape.hidden_size - WORD_WIDTH) // SLOTS
    read = _orthonormal(WORD_WIDTH, slot, random).T
    with torch.no_grad():
        for layer in (first, second):
            for quiet in (layer.mlp.down_proj, layer.self_attn.v_proj, layer.self_attn.o_proj):
                quiet.weight *= NOISE
        pieces = _write_slots(first.self_attn, model.shape, read)
        _compare_slots(second.self_attn, model.shape, pieces, random)
        _copy_words(second.self_attn, model.shape)


def _write_slots(attention: Attention, shape: Shape, read: Tensor) -> list[Tensor]:
    """Each head writes what it sees into its slot; returns how to read the word and every slot."""
    slot, size = len(read), shape.head_dim
    here = torch.arange(slot)
    for group in range(shape.num_key_value_heads):
        attention.v_proj.weight[group * size + here, :WORD_WIDTH] = read
    pieces = [functional.pad(read, (0, shape.hidden_size - WORD_WIDTH))]
    for head in range(SLOTS):
        begin = WORD_WIDTH + head * slot
        attention.o_proj.weight[begin + here, head * size + here] = WRITE_SIZE
        pieces.append(torch.eye(shape.hidden_size)[begin : begin + slot])
    return pieces


def _compare_slots(attention: Attention, shape: Shape, pieces: list[Tensor], random: torch.Generator) -> None:
    """Queries hold the word and the slots, keys hold what stood one earlier."""
    size, share = shape.head_dim, shape.num_attention_heads // shape.num_key_value_heads
    slow = torch.tensor([d for d in range(size) if d % (size // 2) >= SLOW_PAIRS_FROM])
    attention.q_proj.weight *= NOISE
    attention.k_proj.weight *= NOISE
    for group in range(shape.num_key_value_heads):
        for n in range(DEPTHS[group]):
            mix = MATCH_SIZE * _orthonormal(len(slow), len(pieces[0]), random)
            attention.k_proj.weight[group * size + slow] += mix @ pieces[n + 1]
            for head in range(group * share, (group + 1) * share):
                attention.q_proj.weight[head * size + slow] += mix @ pieces[n]


def _copy_words(attention: Attention, shape: Shape) -> None:
    """Each key-value group copies its part of the word."""
    size, share = shape.head_dim, shape.num_attention_heads // shape.num_key_value_heads
    here = torch.arange(size)
    for head in range(shape.num_attention_heads):
        words = head // share * size + here
        attention.v_proj.weight[words, words] = 1.0
        attention.o_proj.weight[words, head * size + here] = COPY_SIZE


def _orthonormal(rows: int, columns: int, random: torch.Generator) -> Tensor:
    made: Tensor = torch.linalg.qr(torch.randn(rows, columns, generator=random))[0]
    return made
