"""Tools that a conversation may call, as the Responses API describes them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.common.errors import InvalidField
from services.gateway.call.generation import ToolUse
from services.gateway.call.renamed import renamed
from services.gateway.rest.openai.tools import FunctionTool, NamedFunction, NamedTool, Tool, tool_use_of


class ResponsesTool(msgspec.Struct):
    """One entry of `tools`: a function of the caller's own."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ResponsesToolChoice(msgspec.Struct):
    """A `tool_choice` that names the one tool to call."""

    type: str
    name: str | None = None


def tools_of(
    tools: list[ResponsesTool] | None, choice: str | ResponsesToolChoice | None, *, in_parallel: bool
) -> ToolUse | None:
    """Which tools may be called; `None` where there are none. Raises `InvalidField`."""
    asked = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools or ())]
    names = {
        **{f"tools[{index}].function": f"tools[{index}]" for index in range(len(asked))},
        "tool_choice.function.name": "tool_choice.name",
    }
    with renamed(names):
        return tool_use_of(asked, _choice(choice), in_parallel=in_parallel)


def shown(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool as an answer repeats it."""
    function = tool["function"]
    described = {name: function.get(name) for name in ("name", "description", "parameters")}
    return {"type": "function", "strict": bool(function.get("strict")), **described}


def shown_choice(tools: ToolUse | None) -> Any:
    """A tool choice as an answer repeats it."""
    if tools is None:
        return "auto"
    return {"type": "function", "name": tools.named} if tools.named else tools.choice


def _tool(tool: ResponsesTool, at: str) -> Tool:
    if tool.type != "function":
        raise InvalidField(f"{at}.type: must be function", field=f"{at}.type")
    if tool.name is None:
        raise InvalidField(f"{at}.name: is required", field=f"{at}.name")
    return Tool(FunctionTool(tool.name, tool.description, tool.parameters, tool.strict))


def _choice(choice: str | ResponsesToolChoice | None) -> str | NamedTool | None:
    if not isinstance(choice, ResponsesToolChoice):
        return choice
    if choice.type != "function":
        raise InvalidField("tool_choice.type: must be function", field="tool_choice.type")
    if not choice.name:
        raise InvalidField("tool_choice.name: is required", field="tool_choice.name")
    return NamedTool(NamedFunction(choice.name))
