"""What the simulated engine takes from a model's directory: vocabulary and digest, not weights."""

import json
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from services.common.domain import EmbeddingModel
from services.common.errors import ModelMissing
from services.worker.engine.sim.continuation import Vocabulary


def _looks_like_path(model: str) -> bool:
    return model.startswith((".", "/", "~"))


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelMissing(f"{path}: {error}") from error
    return found if isinstance(found, dict) else {}


def model_digest(model: str) -> str:
    """Digest of the model's config, or of its name when there is no directory; raises ModelMissing."""
    directory = Path(model).expanduser()
    if not directory.is_dir():
        if _looks_like_path(model):
            raise ModelMissing(f"no model directory at {model}")
        return sha256(model.encode()).hexdigest()[:16]
    config = directory / "config.json"
    if not config.is_file():
        raise ModelMissing(f"no config.json in {model}")
    return sha256(config.read_bytes()).hexdigest()[:16]


def vocabulary(model: str, *, vocab_size: int = 0, eos_token_id: int = -1) -> Vocabulary:
    """The model's plain tokens: the widest range of ids without a special one, so that answers are text.

    `vocab_size` and `eos_token_id` override the model's own (0 and -1: do not).
    """
    directory = Path(model).expanduser()
    config = _json(directory / "config.json")
    eos = eos_token_id if eos_token_id >= 0 else _first_int(config.get("eos_token_id"))
    size = vocab_size or vocabulary_size(model) or Vocabulary().size
    added = _json(directory / "tokenizer.json").get("added_tokens", [])
    special = {int(entry["id"]) for entry in added if entry.get("special")}
    first, count = _widest_gap({i for i in special if i < size}, size)
    return Vocabulary(first, count, eos)


def vocabulary_size(model: str) -> int:
    """Token ids that the model can read lie below it; 0 where its directory does not say."""
    return _first_int(_json(Path(model).expanduser() / "config.json").get("vocab_size")) or 0


DIMENSIONS_DEFAULT = 64


def embedding_model(model: str) -> EmbeddingModel:
    """What the model gives under `runner=pooling`, by the fields of its config that vLLM reads."""
    config = _json(Path(model).expanduser() / "config.json")
    cuts = tuple(sorted(config.get("matryoshka_dimensions") or ()))
    may_cut = bool(cuts or config.get("is_matryoshka"))
    return EmbeddingModel(_first_int(config.get("hidden_size")) or DIMENSIONS_DEFAULT, may_cut, cuts)


def _first_int(value: Any) -> int | None:
    """Model configs give one id or a list of them."""
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, int) else None


def _widest_gap(taken: set[int], size: int) -> tuple[int, int]:
    edges = [-1, *sorted(taken), size]
    gaps = [(high - low - 1, low + 1) for low, high in pairwise(edges)]
    count, first = max(gaps)
    return first, count
