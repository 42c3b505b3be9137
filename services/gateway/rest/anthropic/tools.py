"""Tools that a conversation may call, as Anthropic describes them."""

from collections.abc import Iterator, Sequence

import msgspec

from services.common.errors import InvalidField
from services.gateway.call.generation import ToolUse
from services.gateway.call.renamed import renamed
from services.gateway.rest.anthropic.block import Block
from services.gateway.rest.anthropic.messages import InputMessage
from services.gateway.rest.anthropic.tool import MessagesTool, ToolChange
from services.gateway.rest.openai.tools import FunctionTool, NamedFunction, NamedTool, Tool, tool_use_of


class MessagesToolChoice(msgspec.Struct):
    """`tool_choice`."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_SEARCH = "tool_search_tool"
"""Anthropic's own search for deferred tools. There is none here, so beside it nothing is deferred."""


def tools_of(
    tools: Sequence[MessagesTool], choice: MessagesToolChoice | None, messages: Sequence[InputMessage]
) -> ToolUse | None:
    """Which tools may be called; `None` where there are none. Raises `InvalidField`."""
    offered = _Offered(tools)
    for index, message in enumerate(messages):
        if isinstance(message.content, list):
            offered.follow(message.content, f"messages[{index}].content")
    if choice is not None and choice.name:
        offered.load(choice.name)
    asked = [_tool(tool, at) for tool, at in offered.tools()]
    names = {
        **{f"tools[{index}].function": at for index, (_, at) in enumerate(offered.tools())},
        "tool_choice.function.name": "tool_choice.name",
    }
    in_parallel = choice is None or not choice.disable_parallel_tool_use
    with renamed(names):
        return tool_use_of(asked, _choice(choice), in_parallel=in_parallel)


class _Offered:
    """The tools of a request, and those of them that the conversation has come to offer."""

    def __init__(self, tools: Sequence[MessagesTool]) -> None:
        searches = any((tool.type or "").startswith(_SEARCH) for tool in tools)
        self._known: list[tuple[MessagesTool, str]] = []
        self._hidden: set[str] = set()
        for index, tool in enumerate(tools):
            if (tool.type or "").startswith(_SEARCH):
                continue
            self._known.append((tool, f"tools[{index}]"))
            if tool.defer_loading and not searches:
                self._hidden.add(tool.name)

    def tools(self) -> list[tuple[MessagesTool, str]]:
        """Those that may be called, and where in the body they are."""
        return [(tool, at) for tool, at in self._known if tool.name not in self._hidden]

    def load(self, name: str) -> None:
        """Offer a tool from here on."""
        self._hidden.discard(name)

    def follow(self, blocks: list[Block], at: str) -> None:
        """Do what a message's blocks say about tools."""
        for index, block in enumerate(blocks):
            if block.type == "tool_addition" and block.tool is not None:
                self._add(block.tool, f"{at}[{index}].tool")
            elif block.type == "tool_removal" and block.tool is not None:
                self._hidden.add(block.tool.name or "")
            elif block.type == "tool_result":
                for name in _references(block):
                    self.load(name)

    def _add(self, change: ToolChange, at: str) -> None:
        if change.definition is None:
            self.load(change.name or "")
            return
        defined = change.definition
        self._known = [(tool, place) for tool, place in self._known if tool.name != defined.name]
        self._known.append((defined, f"{at}.definition"))
        self.load(defined.name)


def _references(block: Block) -> Iterator[str]:
    """Names of tools that a client's own search for tools has found."""
    if isinstance(block.content, list):
        for part in block.content:
            if part.type == "tool_reference":
                yield part.tool_name or ""


def _tool(tool: MessagesTool, at: str) -> Tool:
    if tool.type not in (None, "custom"):
        raise InvalidField(
            f"{at}.type: {tool.type[:50]!r} is a tool of Anthropic's own, and this server has none",
            field=f"{at}.type",
        )
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
