"""The chat templates that a model's directory has."""

from pathlib import Path
from typing import Any

from services.common.domain.record import record
from services.common.errors import ModelMissing
from services.gateway.models.rendering.json_files import read_text

_FILE = "chat_template.jinja"
_FOLDER = "additional_chat_templates"
_DEFAULT, _TOOL_USE = "default", "tool_use"


@record
class TemplateSources:
    """Jinja; empty for what the model does not have."""

    default: str
    tool_use: str = ""
    """For conversations with tools, where it is another."""

    @classmethod
    def read(cls, directory: Path, settings: dict[str, Any]) -> "TemplateSources":
        """Those in files of their own, else those in the tokenizer's settings; raises `ModelMissing`."""
        named = _in_files(directory) or _in_settings(directory, settings.get("chat_template"))
        return cls(named.get(_DEFAULT, ""), named.get(_TOOL_USE, ""))


def _in_files(directory: Path) -> dict[str, str]:
    found = {path.stem: read_text(path) for path in sorted((directory / _FOLDER).glob("*.jinja"))}
    default = read_text(directory / _FILE)
    return found | ({_DEFAULT: default} if default else {})


def _in_settings(directory: Path, value: Any) -> dict[str, str]:
    if not isinstance(value, list):
        return {_DEFAULT: str(value or "")}
    try:
        return {str(entry["name"]): str(entry["template"]) for entry in value}
    except (TypeError, KeyError):
        raise ModelMissing(
            f"{directory / 'tokenizer_config.json'}: chat_template is no list of names with templates"
        ) from None
