"""`context_management`: what a client wants left out of a long conversation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from services.common.errors import InvalidField
from services.gateway.call.edits import Edit
from services.gateway.rest.anthropic.clear_thinking import ClearThinking
from services.gateway.rest.anthropic.clear_tool_uses import ClearToolUses
from services.gateway.rest.openai.ranges import TOKENS_MAX

EDITS_MAX = 8
TRIGGER_TOKENS_DEFAULT = 100_000
TOOL_USES_KEPT_DEFAULT = 3
THINKING_TURNS_KEPT_DEFAULT = 1


class Amount(msgspec.Struct):
    """So many of what `type` says."""

    type: str
    value: int | None = None


class AskedEdit(msgspec.Struct):
    """One entry of `edits`."""

    type: str
    keep: str | Amount | None = None
    trigger: Amount | None = None
    clear_at_least: Amount | None = None
    clear_tool_inputs: bool | list[str] | None = None
    exclude_tools: list[str] | None = None


class ContextManagement(msgspec.Struct):
    """The field."""

    edits: list[AskedEdit] | None = None


def edits_of(asked: ContextManagement | None) -> list[Edit]:
    """What is to be done, in this order; raises `InvalidField`.

    A summary in place of the conversation (`compact_20260112`) only saves tokens and is not made here; the
    answer tells which edits were.
    """
    given = (asked.edits if asked is not None else None) or []
    if len(given) > EDITS_MAX:
        name = "context_management.edits"
        raise InvalidField(f"{name}: at most {EDITS_MAX}", field=name)
    made = [_edit(edit, f"context_management.edits[{index}]") for index, edit in enumerate(given)]
    return [edit for edit in made if edit is not None]


def applied_edits(told: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """What the answer says of the edits that were made."""
    return {"context_management": {"applied_edits": told}}


def _edit(asked: AskedEdit, at: str) -> Edit | None:
    if asked.type not in _KINDS:
        name = f"{at}.type"
        raise InvalidField(f"{name}: must be one of {', '.join(_KINDS)}", field=name)
    return _KINDS[asked.type](asked, at)


def _clear_thinking(asked: AskedEdit, at: str) -> Edit | None:
    keep = Amount(asked.keep) if isinstance(asked.keep, str) else asked.keep
    if keep is None:
        return ClearThinking(asked.type, THINKING_TURNS_KEPT_DEFAULT)
    if keep.type == "all":
        return None
    return ClearThinking(asked.type, _value(keep, ("thinking_turns",), 1, f"{at}.keep"))


def _clear_tool_uses(asked: AskedEdit, at: str) -> Edit:
    trigger = asked.trigger or Amount("input_tokens", TRIGGER_TOKENS_DEFAULT)
    keep = Amount(asked.keep) if isinstance(asked.keep, str) else asked.keep
    keep = keep or Amount("tool_uses", TOOL_USES_KEPT_DEFAULT)
    at_least = asked.clear_at_least or Amount("input_tokens", 0)
    inputs = asked.clear_tool_inputs
    return ClearToolUses(
        name=asked.type,
        trigger=trigger.type,
        trigger_above=_value(trigger, ("input_tokens", "tool_uses"), 0, f"{at}.trigger"),
        uses_kept=_value(keep, ("tool_uses",), 0, f"{at}.keep"),
        clear_tokens_min=_value(at_least, ("input_tokens",), 0, f"{at}.clear_at_least"),
        excluded=frozenset(asked.exclude_tools or ()),
        clears_input_of=None if inputs is True else frozenset(inputs or ()),
    )


def _compact(asked: AskedEdit, at: str) -> None:
    """Nothing."""


def _value(amount: Amount, kinds: tuple[str, ...], least: int, at: str) -> int:
    if amount.type not in kinds:
        raise InvalidField(f"{at}.type: must be {' or '.join(kinds)}", field=f"{at}.type")
    if amount.value is None or not least <= amount.value <= TOKENS_MAX:
        raise InvalidField(f"{at}.value: must be from {least} to {TOKENS_MAX}", field=f"{at}.value")
    return amount.value


_KINDS: dict[str, Callable[[AskedEdit, str], Edit | None]] = {
    "clear_thinking_20251015": _clear_thinking,
    "clear_tool_uses_20250919": _clear_tool_uses,
    "compact_20260112": _compact,
}
