"""Real vocabularies that installed packages bring: Mistral's, as a `tokenizers` tokenizer."""

import base64
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from services.gateway.models.rendering.detokenizer import byte_of_character

SPECIAL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]


def files() -> list[Path]:
    """Mistral's vocabularies, where its package is installed: it comes with vLLM."""
    spec = importlib.util.find_spec("mistral_common")
    places = spec.submodule_search_locations if spec is not None else None
    return sorted(path for place in places or () for path in Path(place).glob("data/tekken*.json"))


def read(path: Path, size: int = 1_000_000) -> Tokenizer:
    """The tokenizer of such a file, or of its first so many tokens."""
    file = json.loads(path.read_text())
    special = SPECIAL + [f"<SPECIAL_{n}>" for n in range(len(SPECIAL), _special_count(file))]
    number = min(size, file["config"]["default_vocab_size"] - len(special))
    ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in file["vocab"][:number]}
    names = {byte: character for character, byte in byte_of_character().items()}
    vocabulary = {name: number for number, name in enumerate(special)}
    vocabulary |= {_name(piece, names): rank + len(special) for piece, rank in ranks.items()}
    merges = [[_name(left, names), _name(right, names)] for left, right in _merges(ranks)]
    model = {"type": "BPE", "ignore_merges": True, "vocab": vocabulary, "merges": merges}
    return Tokenizer.from_str(json.dumps(_spec(file["config"]["pattern"], special, model)))


def _special_count(file: dict[str, Any]) -> int:
    return int(file["config"]["default_num_special_tokens"])


def _name(piece: bytes, names: dict[int, str]) -> str:
    return "".join(names[byte] for byte in piece)


def _merges(ranks: dict[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """Every way to make a token of two that come before it, in the order of tokens."""
    for piece, rank in ranks.items():
        cuts = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        halves = [(ranks[a], ranks[b], a, b) for a, b in cuts if ranks.get(a, rank) < rank and b in ranks]
        yield from ((a, b) for _, _, a, b in sorted(halves))


def _spec(pattern: str, special: list[str], model: dict[str, Any]) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": name, **flags} for number, name in enumerate(special)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": model,
    }
