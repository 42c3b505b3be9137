"""Call a tool with JSON arguments when the system prompt lists one, and report what it returned."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tools.demo_model import text, words
from tools.demo_model.chat import Tool, tool_call_text
from tools.demo_model.exchange import Exchange, Scene
from tools.demo_model.text import SizeTokens

_PARAMETERS = (
    "name",
    "city",
    "date",
    "title",
    "query",
    "color",
    "text",
    "user",
    "path",
    "unit",
    "key",
    "topic",
    "count",
    "days",
    "amount",
    "limit",
    "minutes",
    "size",
    "level",
    "id",
)
_INTEGERS = frozenset(("count", "days", "amount", "limit", "minutes", "size", "level", "id"))
_TOOL_VERBS = (
    "get",
    "set",
    "find",
    "send",
    "open",
    "close",
    "create",
    "delete",
    "book",
    "list",
    "start",
    "stop",
    "check",
)

# (name, parameters, wordings): tools that people try first, with the wordings they use
_FAMILIAR = (
    (
        "get_weather",
        ("city",),
        (
            "What is the weather in {city}?",
            "How is the weather in {city}?",
            "Weather in {city}?",
            "What's the weather like in {city}?",
            "Tell me the weather in {city}.",
        ),
    ),
    (
        "get_time",
        ("city",),
        ("What time is it in {city}?", "Tell me the time in {city}.", "What is the time in {city}?"),
    ),
    ("search", ("query",), ("Search for {query}.", "Find something about {query}.", "Look for {query}.")),
    ("set_timer", ("minutes",), ("Set a timer for {minutes} minutes.", "Wake me in {minutes} minutes.")),
    ("send_message", ("user", "text"), ("Send {text} to {user}.", "Tell {user}: {text}")),
    ("book_table", ("name", "count"), ("Book a table for {count} under the name {name}.",)),
    ("get_price", ("name",), ("What does the {name} cost?", "What is the price of the {name}?")),
)
_DIRECT = (
    "Call {tool} with {given}.",
    "Use {tool} with {given}.",
    "Please call {tool} with {given}.",
    "Run {tool}: {given}",
)


def _value(rng: Random, parameter: str) -> str | int:
    if parameter in _INTEGERS:
        return rng.randint(1, 999)
    if parameter == "city":
        return rng.choice(words.PLACES) if rng.random() < 0.7 else text.pseudo_word(rng).capitalize()
    if parameter in ("name", "user"):
        return rng.choice(words.NAMES) if rng.random() < 0.6 else text.word(rng)
    if parameter in ("text", "query", "title", "topic"):
        return " ".join(text.word(rng) for _ in range(rng.randint(1, 4)))
    return rng.choice((text.word, text.code, text.pseudo_word))(rng)


def tool(name: str, description: str, parameters: tuple[str, ...]) -> Tool:
    """An entry of the OpenAI ``tools`` list; every parameter is required."""
    properties = {p: {"type": "integer" if p in _INTEGERS else "string"} for p in parameters}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def _description(rng: Random, name: str) -> str:
    return rng.choice((name.replace("_", " ").capitalize(), f"Use it to {name.replace('_', ' ')}", "A tool"))


def _familiar(rng: Random) -> tuple[Tool, str, dict[str, str | int]]:
    name, parameters, wordings = rng.choice(_FAMILIAR)
    arguments = {p: _value(rng, p) for p in parameters}
    return (
        tool(name, _description(rng, name), parameters),
        rng.choice(wordings).format(**arguments),
        arguments,
    )


def _arbitrary(rng: Random) -> tuple[Tool, str, dict[str, str | int]]:
    name = f"{rng.choice(_TOOL_VERBS)}_{rng.choice(words.NOUNS)}"
    parameters = tuple(rng.sample(_PARAMETERS, rng.randint(1, 3)))
    arguments = {p: _value(rng, p) for p in parameters}
    separator = rng.choice((" ", "=", " = ", ": "))
    given = (" and " if rng.random() < 0.4 else ", ").join(f"{p}{separator}{v}" for p, v in arguments.items())
    asked = rng.choice(_DIRECT).format(tool=name, given=given)
    return tool(name, _description(rng, name), parameters), asked, arguments


def call_tool(rng: Random, size: SizeTokens, budget_tokens: int) -> Scene:
    """One to three tools in the system prompt, a request for one of them, then its result to report."""
    wanted, asked, arguments = (_familiar if rng.random() < 0.45 else _arbitrary)(rng)
    tools = [wanted]
    while rng.random() < 0.35 and size(json.dumps(tools)) + 80 < budget_tokens and len(tools) < 4:
        other = (_familiar if rng.random() < 0.3 else _arbitrary)(rng)[0]
        if all(other["function"]["name"] != known["function"]["name"] for known in tools):
            tools.append(other)
    rng.shuffle(tools)
    name = wanted["function"]["name"]
    content = f"{name} {asked}"
    opening = Exchange("tool_call", asked, tool_call_text(name, arguments), content, tools=tuple(tools))
    result = json.dumps(
        {
            rng.choice(("result", "value", "status", "answer", "temperature")): _value(
                rng, rng.choice(_PARAMETERS)
            )
        }
    )
    reported = Exchange("tool_result", result, f"The tool returned {result}", content, role="tool")
    return Scene(opening, None, (reported,))
