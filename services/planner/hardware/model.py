"""Which model is meant: a directory, a name on the Hugging Face hub, or a short name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from services.common.errors import BadSetting, ModelMissing
from services.planner import silicon
from services.planner.hardware.model_shape import ModelShape
from services.planner.hardware.precision import Precision
from services.planner.hardware.unknown_name import unknown_name


@dataclass(frozen=True, slots=True)
class Model:
    """A model, and where its config is for whoever wants to read it too."""

    name: str
    """As the user called it."""
    shape: ModelShape
    config: Mapping[str, Any]
    """The config.json; compared by name alone."""

    @property
    def served_precision(self) -> Precision:
        """The format of its weights, as the config says; 16 bits where it says nothing."""
        method = str((self.config.get("quantization_config") or {}).get("quant_method", ""))
        words = {"fp8": Precision.FP8, "awq": Precision.INT4, "gptq": Precision.INT4}
        if method in words:
            return words[method]
        return Precision.FP8 if self.name.lower().endswith("fp8") else Precision.BF16

    def __hash__(self) -> int:
        return hash(self.name)


def model_of(name: str, flag: str = "--model") -> Model:
    """The model of that name; raises `BadSetting` or `ModelMissing`, which say what would do."""
    if not name:
        raise BadSetting(f"{flag} is needed: a directory with config.json, a hub name, or a short name")
    directory = Path(name).expanduser()
    if directory.is_dir():
        return _from_directory(name, directory)
    if name.startswith((".", "/", "~")):
        raise ModelMissing(f"{flag}: no model directory at {name}")
    catalogue = _catalogue()
    key = _key(name)
    if key in catalogue:
        return _model(name, catalogue[key])
    config = silicon.shipped_config(name)
    if config is None:
        raise unknown_name(flag, "model", name, {*catalogue, *silicon.shipped_names()})
    return _model(name, config)


def _from_directory(name: str, directory: Path) -> Model:
    path = directory / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelMissing(f"no config.json in {name}") from None
    except (OSError, ValueError) as error:
        raise ModelMissing(f"{path}: {error}") from error
    if not isinstance(config, dict):
        raise ModelMissing(f"{path} holds no JSON object")
    return _model(name, config)


def _model(name: str, config: Mapping[str, Any]) -> Model:
    return Model(name, ModelShape.of_config(name, config), config)


def _key(name: str) -> str:
    """`meta-llama/Llama-3.3-70B-Instruct-FP8` is `llama-3.3-70b`."""
    key = name.lower().rpartition("/")[2].removeprefix("meta-")
    for ending in ("-fp8", "-hf", "-instruct", "-chat", "-awq", "-gptq"):
        key = key.removesuffix(ending)
    return _ALIASES.get(key, key)


_ALIASES = {"llama-3.3-70b": "llama-3.1-70b", "llama-3.2-8b": "llama-3.1-8b"}
"""Models of another's shape."""


def _catalogue() -> dict[str, Mapping[str, Any]]:
    text = (resources.files("services.planner.hardware") / "models.json").read_text("utf-8")
    found: dict[str, Mapping[str, Any]] = json.loads(text)
    return found
