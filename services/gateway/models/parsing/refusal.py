"""What vLLM's request models and parsers refuse, as an error of ours that names the field."""

from services.common.errors import InvalidField

FIELD = "tools"
"""What an error is about that names no field: only tools and reasoning are asked of vLLM's parsers."""
REASON_CHARS_MAX = 300


def refusal_of(error: Exception) -> InvalidField:
    """The error for the caller.

    vLLM's own client errors have `parameter`; pydantic's list the path of each fault. Others say only why.
    """
    field, reason = _field_and_reason(error)
    return InvalidField(f"{field}: {reason[:REASON_CHARS_MAX]}", field=field)


def _field_and_reason(error: Exception) -> tuple[str, str]:
    faults = getattr(error, "errors", None)
    if callable(faults) and (listed := faults()):
        return _path(listed[0].get("loc", ())) or FIELD, str(listed[0].get("msg", ""))
    # The first argument is the message alone; the text would repeat the parameter with its whole value.
    said = str(error.args[0] if error.args else error) or type(error).__name__
    return str(getattr(error, "parameter", None) or FIELD), said.strip().partition("\n")[0]


def _path(steps: "tuple[int | str, ...]") -> str:
    """As bodies are written: `tools[0].function.name`."""
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.lstrip(".")
