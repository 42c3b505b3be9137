"""Tools that a conversation may call, as the Responses API describes them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from services.common.domain.record import record
from services.common.errors import InvalidField
from services.gateway.call.generation import ToolUse
from services.gateway.call.renamed import renamed
from services.gateway.rest.openai.tools import FunctionTool, NamedFunction, NamedTool, Tool, tool_use_of
from services.gateway.rest.responses.caller_tool import INPUT, CallerTool, CallerTools


class ResponsesTool(msgspec.Struct):
    """One entry of `tools`; which fields it has, its type says."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: dict[str, Any] | None = None
    """How the input of a custom tool is written."""
    tools: "list[ResponsesTool] | None" = None
    """What a namespace holds."""


class AllowedTool(msgspec.Struct):
    """One entry of `tool_choice.tools`."""

    type: str
    name: str | None = None
    namespace: str | None = None


class ResponsesToolChoice(msgspec.Struct):
    """A `tool_choice` that names a tool, or those that may be called."""

    type: str
    name: str | None = None
    namespace: str | None = None
    mode: str | None = None
    tools: list[AllowedTool] | None = None


@record
class Offer:
    """What the tools of a body come to."""

    use: ToolUse | None
    """`None` where there are none."""
    caller_tools: CallerTools
    shown: Sequence[Mapping[str, Any]]
    """The tools as an answer repeats them."""
    shown_choice: Any
    """The choice as an answer repeats it."""


_SERVER = re.compile(
    r"(web_search|file_search|code_interpreter|computer|image_generation|mcp|tool_search"
    r"|local_shell|shell|apply_patch|programmatic_tool_calling)(_preview|_use|_use_preview)?(_\d[\d_]*)?"
)
"""Types of tools that OpenAI's own servers or clients have, and that cannot be described to another model."""


def offer_of(
    tools: Sequence[ResponsesTool], choice: str | ResponsesToolChoice | None, *, in_parallel: bool
) -> Offer:
    """Which tools may be called; raises `InvalidField`.

    Tools of OpenAI's servers are left out, for a client that offers them can do without.
    """
    found = list(_flat(tools))
    _check_names(found)
    if isinstance(choice, ResponsesToolChoice) and choice.type == "allowed_tools":
        found = _allowed(found, choice)
    names = {
        **{f"tools[{index}].function": at for index, (_, _, at) in enumerate(found)},
        "tool_choice.function.name": "tool_choice.name",
    }
    if choice == "required" and tools and not found:
        raise _no_server_tools("tool_choice")
    with renamed(names):
        functions = [_function(tool, origin, at) for tool, origin, at in found]
        use = tool_use_of(functions, _choice(choice), in_parallel=in_parallel)
    return Offer(
        use,
        {origin.flat_name: origin for _, origin, _ in found},
        [_shown(tool) for tool in tools if not _SERVER.fullmatch(tool.type)],
        choice if choice is not None else "auto",
    )


Found = tuple[ResponsesTool, CallerTool, str]
"""A tool, as whose it is known, and where in the body it is."""


def _flat(tools: Sequence[ResponsesTool]) -> Iterator[Found]:
    for index, tool in enumerate(tools):
        at = f"tools[{index}]"
        if tool.type == "namespace":
            for nth, inner in enumerate(tool.tools or ()):
                yield _one(inner, f"{at}.tools[{nth}]", _required(tool.name, f"{at}.name"))
        elif not _SERVER.fullmatch(tool.type):
            yield _one(tool, at, "")


def _one(tool: ResponsesTool, at: str, namespace: str) -> Found:
    if tool.type not in ("function", "custom"):
        raise InvalidField(f"{at}.type: must be function, custom or namespace", field=f"{at}.type")
    name = _required(tool.name, f"{at}.name", allows_empty=True)
    return tool, CallerTool(name, namespace, tool.type == "custom"), at


def _check_names(found: Sequence[Found]) -> None:
    taken: dict[str, CallerTool] = {}
    for _, origin, at in found:
        if taken.setdefault(origin.flat_name, origin) != origin:
            raise InvalidField(f"{at}.name: another tool has this name", field=f"{at}.name")


def _allowed(found: Sequence[Found], choice: ResponsesToolChoice) -> list[Found]:
    """Those that the choice names; one of a namespace's name allows all in it."""
    wanted = choice.tools or ()
    kept = [
        (tool, origin, at)
        for tool, origin, at in found
        if any(_is_named(origin, one.name, one.namespace) or origin.namespace == one.name for one in wanted)
    ]
    if not kept:
        name = "tool_choice.tools"
        raise InvalidField(f"{name}: names none of the tools that this server can offer", field=name)
    return kept


def _is_named(origin: CallerTool, name: str | None, namespace: str | None) -> bool:
    if namespace:
        return (origin.name, origin.namespace) == (name, namespace)
    return name in (origin.name, origin.flat_name)


def _function(tool: ResponsesTool, origin: CallerTool, at: str) -> Tool:
    if not origin.is_custom:
        return Tool(FunctionTool(origin.flat_name, tool.description, tool.parameters, tool.strict))
    parameters = {
        "type": "object",
        "properties": {INPUT: {"type": "string", "description": _wanted_input(tool, at)}},
        "required": [INPUT],
        "additionalProperties": False,
    }
    return Tool(FunctionTool(origin.flat_name, tool.description, parameters))


def _wanted_input(tool: ResponsesTool, at: str) -> str:
    """The grammar is told to the model: it cannot be enforced within the JSON of a call."""
    asked = tool.format or {}
    if asked.get("type", "text") == "text":
        return "The whole input, as plain text."
    if asked.get("type") != "grammar" or not isinstance(asked.get("definition"), str):
        name = f"{at}.format"
        raise InvalidField(f"{name}: must be text, or a grammar with its definition", field=name)
    return f"The whole input, as text of this {asked.get('syntax', '')} grammar:\n{asked['definition']}"


def _choice(choice: str | ResponsesToolChoice | None) -> str | NamedTool | None:
    if not isinstance(choice, ResponsesToolChoice):
        return choice
    if choice.type == "allowed_tools":
        if choice.mode not in ("auto", "required"):
            raise InvalidField("tool_choice.mode: must be auto or required", field="tool_choice.mode")
        return choice.mode
    if _SERVER.fullmatch(choice.type):
        raise _no_server_tools("tool_choice.type")
    if choice.type not in ("function", "custom"):
        raise InvalidField(
            "tool_choice.type: must be function, custom or allowed_tools", field="tool_choice.type"
        )
    origin = CallerTool(_required(choice.name, "tool_choice.name"), choice.namespace or "")
    return NamedTool(NamedFunction(origin.flat_name))


def _no_server_tools(name: str) -> InvalidField:
    return InvalidField(f"{name}: this server has no tools of its own, only the caller's", field=name)


def _shown(tool: ResponsesTool) -> dict[str, Any]:
    made: dict[str, Any] = {"type": tool.type, "name": tool.name, "description": tool.description}
    if tool.type == "namespace":
        return made | {"tools": [_shown(inner) for inner in tool.tools or ()]}
    if tool.type == "custom":
        return made | {"format": tool.format or {"type": "text"}}
    return made | {"parameters": tool.parameters, "strict": bool(tool.strict)}


def _required(value: str | None, at: str, *, allows_empty: bool = False) -> str:
    if value is None or not (value or allows_empty):
        raise InvalidField(f"{at}: is required", field=at)
    return value
