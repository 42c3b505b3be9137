"""Files of a model's directory."""

import json
from pathlib import Path
from typing import Any

from services.common.errors import ModelMissing


def read_text(path: Path) -> str:
    """A file's text, empty for an absent one; raises `ModelMissing` for one that cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ModelMissing(f"cannot read {path}: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, an empty one for an absent file; raises `ModelMissing` for anything else."""
    text = read_text(path)
    try:
        value = json.loads(text) if text else {}
    except ValueError as error:
        raise ModelMissing(f"cannot read {path}: {error}") from None
    if not isinstance(value, dict):
        raise ModelMissing(f"{path} is not a JSON object")
    return value
