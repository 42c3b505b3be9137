"""The chat format, ChatML with Hermes tool calls: a Jinja template for servers, the same in Python."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
TOOL_CALL_OPEN = "<tool_call>"
TOOL_CALL_CLOSE = "</tool_call>"

TOOLS_INTRO = "Tools:"
TOOLS_OUTRO = f'To use a tool, answer with {TOOL_CALL_OPEN}{{"name": ..., "arguments": ...}}{TOOL_CALL_CLOSE}'

TEMPLATE = (
    "{%- set ns = namespace(system='') -%}"
    "{%- if messages and messages[0].role == 'system' -%}"
    "{%- set ns.system = messages[0].content -%}{%- endif -%}"
    "{%- if tools -%}"
    "{{- '<|im_start|>system\\n' -}}"
    "{%- if ns.system -%}{{- ns.system + '\\n' -}}{%- endif -%}"
    "{{- '" + TOOLS_INTRO + "\\n' -}}"
    "{%- for tool in tools -%}{{- tool | tojson + '\\n' -}}{%- endfor -%}"
    "{{- '" + TOOLS_OUTRO + "<|im_end|>\\n' -}}"
    "{%- elif ns.system -%}{{- '<|im_start|>system\\n' + ns.system + '<|im_end|>\\n' -}}{%- endif -%}"
    "{%- for message in messages -%}"
    "{%- if message.role != 'system' -%}"
    "{{- '<|im_start|>' + message.role + '\\n' -}}"
    "{%- if message.content -%}{{- message.content -}}{%- endif -%}"
    "{%- if message.tool_calls -%}{%- for call in message.tool_calls -%}"
    "{%- set f = call.function if call.function else call -%}"
    "{%- if message.content or not loop.first -%}{{- '\\n' -}}{%- endif -%}"
    '{{- \'<tool_call>\\n{"name": "\' + f.name + \'", "arguments": \' -}}'
    "{{- f.arguments if f.arguments is string else f.arguments | tojson -}}{{- '}\\n</tool_call>' -}}"
    "{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)

Tool = dict[str, Any]
"""One entry of the OpenAI ``tools`` list."""


@dataclass(frozen=True)
class Message:
    """One turn; ``role`` is system, user, assistant or tool."""

    role: str
    content: str


def system_text(system: str, tools: Sequence[Tool]) -> str:
    """Content of the system turn: the system prompt, then the tools; empty when there is neither."""
    if not tools:
        return system
    listed = "".join(json.dumps(tool, ensure_ascii=False) + "\n" for tool in tools)
    return (
        f"{system}\n{TOOLS_INTRO}\n{listed}{TOOLS_OUTRO}"
        if system
        else f"{TOOLS_INTRO}\n{listed}{TOOLS_OUTRO}"
    )


def turn_head(role: str) -> str:
    """What stands before a turn's content."""
    return f"{TURN_START}{role}\n"


def tool_call_text(name: str, arguments: dict[str, Any]) -> str:
    """An assistant turn that calls one tool, as Hermes-style parsers read it."""
    call = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"{TOOL_CALL_OPEN}\n{call}\n{TOOL_CALL_CLOSE}"


def render(
    messages: Sequence[Message], tools: Sequence[Tool] = (), add_generation_prompt: bool = True
) -> str:
    """The prompt text, equal to what :data:`TEMPLATE` makes of the same messages."""
    has_system = bool(messages) and messages[0].role == "system"
    system = system_text(messages[0].content if has_system else "", tools)
    turns = [Message("system", system)] if system else []
    turns += [message for message in messages if message.role != "system"]
    text = "".join(f"{turn_head(turn.role)}{turn.content}{TURN_END}\n" for turn in turns)
    return text + (turn_head("assistant") if add_generation_prompt else "")
