"""What can be found out without importing vLLM: is the model there, are the libraries there."""

import importlib.util
import json
import re
from pathlib import Path

from services.common.errors import ComponentMissing, ModelMissing

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")

_COMPONENTS = {
    "torch": "pip install 'pdmesh[cpu]' (or 'pdmesh[gpu]' on an NVIDIA machine)",
    "vllm": "pip install 'pdmesh[cpu]' (or 'pdmesh[gpu]' on an NVIDIA machine)",
    "nixl": "pip install nixl (on a machine without CUDA: pip install --no-deps nixl nixl-cu12)",
}


def require_components() -> None:
    """Raise `ComponentMissing` with the command that installs the first library that is not there."""
    for name, remedy in _COMPONENTS.items():
        if importlib.util.find_spec(name) is None:
            raise ComponentMissing(f"the vllm engine needs the library {name}: {remedy}")


def require_model(model: str) -> None:
    """Raise `ModelMissing` unless `model` is a directory with a readable config.json or may be a hub id."""
    directory = Path(model)
    if not directory.exists() and _HUB_ID.fullmatch(model):
        return
    if not directory.is_dir():
        raise ModelMissing(f"no model at {model}: not a directory and not a Hugging Face id (owner/name)")
    config = directory / "config.json"
    try:
        if not isinstance(json.loads(config.read_text()), dict):
            raise ModelMissing(f"{config} is not a JSON object")
    except OSError as error:
        raise ModelMissing(f"no model at {model}: cannot read {config.name}: {error.strerror}") from error
    except ValueError as error:
        raise ModelMissing(f"{config} is not valid JSON: {error}") from error
