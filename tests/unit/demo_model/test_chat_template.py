"""The Jinja template servers use and the Python rendering used in training give the same prompts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tools.demo_model import chat
from tools.demo_model.chat import Message
from tools.demo_model.tasks.tool_calls import tool

WEATHER = tool("get_weather", "Weather of a city", ("city",))
CALL = chat.tool_call_text("get_weather", {"city": "Zürich"})


def by_template(messages: list[dict[str, Any]], tools: list[chat.Tool] | None) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    rendered = environment.from_string(chat.TEMPLATE).render(
        messages=messages, tools=tools, add_generation_prompt=True
    )
    return str(rendered)


@pytest.mark.parametrize("system", ["", "Be brief."])
@pytest.mark.parametrize("tools", [(), (WEATHER,), (WEATHER, tool("search", "A tool", ("query", "limit")))])
def test_template_equals_render(system: str, tools: tuple[chat.Tool, ...]) -> None:
    messages = [Message("system", system)] if system else []
    messages += [
        Message("user", "Weather in Zürich?"),
        Message("assistant", CALL),
        Message("tool", '{"temperature": 21}'),
        Message("assistant", "Fine."),
        Message("user", "hi <b>\n'x'"),
    ]
    plain = [{"role": m.role, "content": m.content} for m in messages]
    assert by_template(plain, list(tools) or None) == chat.render(messages, tools)


@pytest.mark.parametrize("arguments", [{"city": "Zürich"}, '{"city": "Zürich"}'])
def test_structured_tool_calls_render_as_the_model_writes_them(arguments: object) -> None:
    structured = {"type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    asked = {"role": "user", "content": "Weather?"}
    messages: list[dict[str, Any]] = [
        asked,
        {"role": "assistant", "content": None, "tool_calls": [structured]},
    ]
    wanted = chat.render([Message("user", "Weather?"), Message("assistant", CALL)], (WEATHER,))
    assert by_template(messages, [WEATHER]) == wanted
