"""Tools that a conversation may call, as Anthropic describes them."""

from typing import Any

import msgspec

from services.common.errors import InvalidField
from services.gateway.call.generation import ToolUse
from services.gateway.call.renamed import renamed
from services.gateway.rest.openai.tools import FunctionTool, NamedFunction, NamedTool, Tool, tool_use_of


class MessagesTool(msgspec.Struct):
    """One entry of `tools`: a function of the caller's own."""

    name: str
    input_schema: dict[str, Any] | None = None
    description: str | None = None
    type: str | None = None
    strict: bool | None = None


class MessagesToolChoice(msgspec.Struct):
    """`tool_choice`."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def tools_of(tools: list[MessagesTool] | None, choice: MessagesToolChoice | None) -> ToolUse | None:
    """Which tools may be called; `None` where there are none. Raises `InvalidField`."""
    asked = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools or ())]
    names = {
        **{f"tools[{index}].function": f"tools[{index}]" for index in range(len(asked))},
        "tool_choice.function.name": "tool_choice.name",
    }
    in_parallel = choice is None or not choice.disable_parallel_tool_use
    with renamed(names):
        return tool_use_of(asked, _choice(choice), in_parallel=in_parallel)


def _tool(tool: MessagesTool, at: str) -> Tool:
    if tool.type not in (None, "custom"):
        raise InvalidField(f"{at}.type: this server has no tools of its own", field=f"{at}.type")
    if tool.input_schema is None:
        raise InvalidField(f"{at}.input_schema: is required", field=f"{at}.input_schema")
    schema = {"type": "object", **tool.input_schema}
    return Tool(FunctionTool(tool.name, tool.description, schema, tool.strict))


def _choice(choice: MessagesToolChoice | None) -> str | NamedTool | None:
    if choice is None:
        return None
    if choice.type == "tool":
        if not choice.name:
            raise InvalidField("tool_choice.name: is required", field="tool_choice.name")
        return NamedTool(NamedFunction(choice.name))
    if choice.type not in _CHOICES:
        raise InvalidField("tool_choice.type: must be auto, any, tool or none", field="tool_choice.type")
    return _CHOICES[choice.type]
