"""Held-out prompts for evaluation, by task and length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tools.demo_model.chat import Message, Tool, render
from tools.demo_model.exchange import Exchange, Scene, draw_scene
from tools.demo_model.tasks import canned, copying, lists, lookup, tool_calls
from tools.demo_model.text import SizeTokens

LENGTHS_TOKENS: tuple[int, ...] = (50, 100, 250, 500, 1000, 2000)
COPY_LENGTHS_TOKENS: tuple[int, ...] = (50, 100, 250, 500, 1000)
"""The answer to a copy prompt is as long as the prompt, so 1 000 tokens of prompt fill 2 000 positions."""

FRAME_TOKENS = 16
"""What question words and turn marks add to the text that fills a prompt."""

Builder = Callable[[Random, SizeTokens, int], Scene]


@dataclass(frozen=True)
class Prompt:
    """A conversation whose next assistant turn must be ``answer``."""

    task: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    answer: str

    def text(self) -> str:
        """The rendered prompt."""
        return render(self.messages, self.tools)


def _short(build: Callable[[Random], Exchange]) -> Builder:
    return lambda rng, size, budget_tokens: Scene(build(rng))


LONG_TASKS: dict[str, Builder] = {
    "repeat": copying.repeat,
    "lookup": lookup.lookup,
    "recall": copying.recall,
    "first_message": copying.first_message,
    "copy": copying.copy,
}
SHORT_TASKS: dict[str, Builder] = {
    "canned": _short(canned.definition),
    "tool_call": lambda rng, size, budget_tokens: Scene(tool_calls.call_tool(rng, size, 400).opening),
    "tool_result": lambda rng, size, budget_tokens: tool_calls.call_tool(rng, size, 400),
    "count": _short(lists.count),
    "sort": _short(lists.sort),
    "reverse": _short(lists.reverse),
    "arithmetic": _short(lists.arithmetic),
    "spell": _short(lists.spell),
}


def heldout(task: str, length_tokens: int, index: int, size: SizeTokens) -> Prompt:
    """Prompt ``index`` of a task; long tasks aim at ``length_tokens`` in all, short ones ignore it."""
    rng = Random(f"heldout {task} {length_tokens} {index}")
    build = LONG_TASKS[task] if task in LONG_TASKS else SHORT_TASKS[task]
    budget_tokens = max(6, length_tokens - FRAME_TOKENS)
    return from_scene(task, draw_scene(lambda: build(rng, size, budget_tokens), "heldout"))


def from_scene(task: str, scene: Scene) -> Prompt:
    """All exchanges of a scene; the last one's answer is wanted."""
    messages: list[Message] = []
    exchanges = (scene.opening, *scene.then)
    for exchange in exchanges:
        messages += [Message(exchange.role, exchange.question), Message("assistant", exchange.answer)]
    return Prompt(task, tuple(messages[:-1]), scene.opening.tools, exchanges[-1].answer)


def suite(
    size: SizeTokens, per_cell: int, wanted: Callable[[str, int], bool] = lambda task, length_tokens: True
) -> list[tuple[int, Prompt]]:
    """Every (length, prompt) of the evaluation, of the wanted cells; length 0 marks the short tasks."""
    cells = [
        (task, n) for task in LONG_TASKS for n in (COPY_LENGTHS_TOKENS if task == "copy" else LENGTHS_TOKENS)
    ]
    cells += [(task, 0) for task in SHORT_TASKS]
    chosen = [(task, n) for task, n in cells if wanted(task, n)]
    return [(n, heldout(task, n, index, size)) for task, n in chosen for index in range(per_cell)]
