"""The files in ``models/demo`` fit together."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tools.demo_model import chat, prompts
from tools.demo_model.evaluate import score, token_counter

MODEL = Path(__file__).parents[3] / "models" / "demo"
SIZE_BYTES_MAX = 10_000_000


def read_json(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MODEL / name).read_text())
    return loaded


@pytest.fixture(scope="module")
def tensors() -> dict[str, Any]:
    with (MODEL / "model.safetensors").open("rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(header_bytes))
    header.pop("__metadata__")
    return header


def test_weights_are_small_and_bf16(tensors: dict[str, Any]) -> None:
    assert (MODEL / "model.safetensors").stat().st_size < SIZE_BYTES_MAX
    assert {tensor["dtype"] for tensor in tensors.values()} == {"BF16"}


def test_weights_have_the_shapes_of_the_config(tensors: dict[str, Any]) -> None:
    config = read_json("config.json")
    assert tensors["model.embed_tokens.weight"]["shape"] == [config["vocab_size"], config["hidden_size"]]
    layers = {name.split(".")[2] for name in tensors if name.startswith("model.layers.")}
    assert len(layers) == config["num_hidden_layers"]
    query = tensors["model.layers.0.self_attn.q_proj.weight"]["shape"]
    assert query == [config["num_attention_heads"] * config["head_dim"], config["hidden_size"]]


def test_token_ids_agree() -> None:
    config, generation = read_json("config.json"), read_json("generation_config.json")
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == config["vocab_size"]
    assert config["eos_token_id"] == generation["eos_token_id"] == tokenizer.token_to_id(chat.TURN_END)
    assert read_json("tokenizer_config.json")["eos_token"] == chat.TURN_END


def test_the_committed_template_is_the_one_of_the_code() -> None:
    assert (MODEL / "chat_template.jinja").read_text() == chat.TEMPLATE
    assert read_json("tokenizer_config.json")["chat_template"] == chat.TEMPLATE


@pytest.mark.timeout(200)
def test_it_answers_heldout_prompts() -> None:
    pytest.importorskip("transformers")
    from tools.demo_model.backends import Forced

    size = token_counter(MODEL)
    cells = [(task, n) for task in ("repeat", "lookup") for n in (100, 500)]
    asked = [(0, prompts.heldout(task, n, index, size)) for task, n in cells for index in range(4)]
    right = score(Forced(MODEL), asked)
    assert all(row == {0: 1.0} for row in right.values()), right


def test_the_card_has_the_scores() -> None:
    card = (MODEL / "README.md").read_text()
    for task, row in read_json("scores.json").items():
        assert f"| {task} | " in card
        assert all(f"{100 * share:.1f} %" in card for share in row.values())
