"""Call a tool with JSON arguments when the system prompt lists one, and report what it returned."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from tools.demo_model import words
from tools.demo_model.chat import Tool, tool_call_text
from tools.demo_model.exchange import Exchange, Scene, draw_scene
from tools.demo_model.text import SizeTokens

_PARAMETERS = ("name", "city", "color", "user", "unit", "topic", "count", "days", "limit", "size")
_INTEGERS = frozenset(("count", "days", "limit", "minutes", "size"))
_TOOL_VERBS = ("get", "set", "find", "send", "open", "close", "create", "delete")


@dataclass(frozen=True)
class Kind:
    """A tool, its parameters, and how people ask for it."""

    name: str
    parameters: tuple[str, ...]
    wordings: tuple[str, ...]


_FAMILIAR = (
    Kind(
        "get_weather",
        ("city",),
        ("What is the weather in {city}?", "How is the weather in {city}?", "Tell me the weather in {city}."),
    ),
    Kind("get_time", ("city",), ("What time is it in {city}?", "Tell me the time in {city}.")),
    Kind("search", ("topic",), ("Search for {topic}.", "Find something about {topic}.")),
    Kind("set_timer", ("minutes",), ("Set a timer for {minutes} minutes.", "Wake me in {minutes} minutes.")),
    Kind("get_price", ("name",), ("What does the {name} cost?", "What is the price of the {name}?")),
)
_DIRECT = ("Call {tool} with {given}.", "Use {tool} with {given}.")
FAMILIAR_SHARE = 0.6


def _value(rng: Random, parameter: str) -> str | int:
    if parameter in _INTEGERS:
        return rng.randint(1, 99)
    if parameter == "city":
        return rng.choice(words.PLACES)
    if parameter == "user":
        return rng.choice(words.NAMES)
    return rng.choice(words.NOUNS)


def tool(name: str, description: str, parameters: tuple[str, ...]) -> Tool:
    """An entry of the OpenAI ``tools`` list; every parameter is required."""
    properties = {p: {"type": "integer" if p in _INTEGERS else "string"} for p in parameters}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def _description(rng: Random, name: str) -> str:
    return rng.choice((f"Use it to {name.replace('_', ' ')}", "A tool"))


def _kind(rng: Random) -> Kind:
    if rng.random() < FAMILIAR_SHARE:
        return rng.choice(_FAMILIAR)
    name = f"{rng.choice(_TOOL_VERBS)}_{rng.choice(words.NOUNS)}"
    return Kind(name, tuple(rng.sample(_PARAMETERS, rng.randint(1, 2))), _DIRECT)


def _request(rng: Random, kind: Kind, tools: tuple[Tool, ...]) -> Exchange:
    arguments = {p: _value(rng, p) for p in kind.parameters}
    given = " and ".join(f"{p} {v}" for p, v in arguments.items())
    asked = rng.choice(kind.wordings).format(tool=kind.name, given=given, **arguments)
    called = tool_call_text(kind.name, arguments)
    return Exchange("tool_call", asked, called, f"{kind.name} {asked}", tools=tools)


def call_tool(rng: Random, size: SizeTokens, budget_tokens: int) -> Scene:
    """One to three tools in the system prompt, a request for one of them, its result to report, and more."""
    wanted = _kind(rng)
    kinds = [wanted]
    while rng.random() < 0.3 and 80 * (len(kinds) + 1) < budget_tokens and len(kinds) < 3:
        other = _kind(rng)
        if all(other.name != known.name for known in kinds):
            kinds.append(other)
    rng.shuffle(kinds)
    tools = tuple(tool(kind.name, _description(rng, kind.name), kind.parameters) for kind in kinds)
    opening = _request(rng, wanted, tools)
    result = json.dumps({rng.choice(("result", "value", "status")): _value(rng, rng.choice(_PARAMETERS))})
    reported = Exchange("tool_result", result, f"The tool returned {result}", opening.content, role="tool")

    def ask(rng: Random) -> Exchange:
        return draw_scene(lambda: Scene(_request(rng, rng.choice(kinds), ())), "train").opening

    return Scene(opening, ask, (reported,))
