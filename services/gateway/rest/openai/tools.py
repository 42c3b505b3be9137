"""Tools that a conversation may call."""

from typing import Any

import msgspec

from services.common.errors import InvalidField
from services.gateway.call.generation import ToolUse

TOOLS_MAX = 1_024
NAME_CHARS_MAX = 256


class FunctionTool(msgspec.Struct):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct):
    """One entry of `tools`."""

    function: FunctionTool
    type: str = "function"


class NamedFunction(msgspec.Struct):
    """`tool_choice.function`."""

    name: str


class NamedTool(msgspec.Struct):
    """A `tool_choice` that names the one tool to call."""

    function: NamedFunction
    type: str = "function"


def tool_use_of(
    tools: list[Tool] | None, tool_choice: str | NamedTool | None, *, in_parallel: bool
) -> ToolUse | None:
    """Which tools may be called; `None` where there are none. Raises `InvalidField`."""
    if not tools:
        if tool_choice not in (None, "none", "auto"):
            raise InvalidField("tool_choice: needs tools", field="tool_choice")
        return None
    if len(tools) > TOOLS_MAX:
        raise InvalidField(f"tools: at most {TOOLS_MAX}", field="tools")
    described = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools)]
    choice, named = _choice(tool_choice, {tool.function.name for tool in tools})
    return ToolUse(described, choice, named, in_parallel)


def _tool(tool: Tool, at: str) -> dict[str, Any]:
    if tool.type != "function":
        raise InvalidField(f"{at}.type: must be function", field=f"{at}.type")
    function = tool.function
    if not 0 < len(function.name) <= NAME_CHARS_MAX:
        name = f"{at}.function.name"
        raise InvalidField(f"{name}: must have 1 to {NAME_CHARS_MAX} characters", field=name)
    # Absent ones are there as null, and in this order: it is what templates were trained on elsewhere.
    made: dict[str, Any] = {
        "name": function.name,
        "description": function.description,
        "parameters": function.parameters,
    }
    if function.strict is not None:
        made["strict"] = function.strict
    return {"type": tool.type, "function": made}


def _choice(asked: str | NamedTool | None, names: set[str]) -> tuple[str, str]:
    """The choice and the name that it names, if it does."""
    if asked is None:
        return "auto", ""
    if isinstance(asked, str):
        if asked not in ("none", "auto", "required"):
            raise InvalidField(
                "tool_choice: must be none, auto, required or name a function", field="tool_choice"
            )
        return asked, ""
    if asked.type != "function":
        raise InvalidField("tool_choice.type: must be function", field="tool_choice.type")
    if asked.function.name not in names:
        name = "tool_choice.function.name"
        raise InvalidField(f"{name}: is none of the tools", field=name)
    return "auto", asked.function.name
