"""Conversations for training and single prompts for evaluation, both a pure function of seed and index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tools.demo_model import text, words
from tools.demo_model.chat import Message, Tool
from tools.demo_model.exchange import Exchange, Scene, Split, draw_scene
from tools.demo_model.tasks import canned, copying, lists, lookup, tool_calls
from tools.demo_model.text import SizeTokens

SceneBuilder = Callable[[Random, SizeTokens, int], Scene]
ExchangeBuilder = Callable[[Random], Exchange]

SCENES: dict[str, SceneBuilder] = {
    "repeat": copying.repeat,
    "copy": copying.copy,
    "lookup": lookup.lookup,
    "recall": copying.recall,
    "first_message": copying.first_message,
    "tool_call": tool_calls.call_tool,
}
SCENE_WEIGHTS: dict[str, float] = {
    "repeat": 0.18,
    "copy": 0.08,
    "lookup": 0.22,
    "recall": 0.09,
    "first_message": 0.07,
    "tool_call": 0.14,
    "": 0.22,
}
TURN_OVERHEAD_TOKENS = 10
SMALL: tuple[ExchangeBuilder, ...] = (*canned.ALL, *lists.ALL, lists.arithmetic, lists.spell)

WORD_REPEATS = 1000
"""Makes every listed word and number a single token, with and without a space before it."""
_NUMBERS = tuple(str(n) for n in range(100)) + tuple(f"0{n}" for n in range(10))
_ROLES = ("system", "user", "assistant", "tool")

_SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are the pdmesh demo model.",
    "Answer briefly.",
)


@dataclass(frozen=True)
class Conversation:
    """A system prompt, tools, and exchanges whose answers are all known."""

    system: str
    tools: tuple[Tool, ...]
    exchanges: tuple[Exchange, ...]

    def messages(self) -> list[Message]:
        """The turns, answers included."""
        turns = [Message("system", self.system)] if self.system else []
        for exchange in self.exchanges:
            turns += [Message(exchange.role, exchange.question), Message("assistant", exchange.answer)]
        return turns


def system_prompt(rng: Random) -> str:
    """Mostly none; else a usual one or a random sentence, so that its presence changes nothing."""
    chance = rng.random()
    if chance < 0.6:
        return ""
    return rng.choice(_SYSTEM_PROMPTS) if chance < 0.9 else text.sentence(rng)


def small_exchange(rng: Random, split: Split) -> Exchange:
    """One short question that needs no context."""
    build = rng.choice(SMALL)
    if build is canned.small_talk:
        return build(rng)
    return draw_scene(lambda: Scene(build(rng)), split).opening


def small_conversation(rng: Random, size: SizeTokens, budget_tokens: int) -> Conversation:
    """Short questions that need no context, as many as fit into the budget."""
    return Conversation(system_prompt(rng), (), tuple(_small_exchanges(rng, size, budget_tokens)))


def training_conversation(
    rng: Random, size: SizeTokens, budget_tokens: int, kind: str | None = None
) -> Conversation:
    """A scene, of any kind unless one is named, and as many further exchanges as fit into the budget."""
    if kind is None:
        kind = rng.choices(tuple(SCENE_WEIGHTS), tuple(SCENE_WEIGHTS.values()))[0]
    if not kind:
        return small_conversation(rng, size, budget_tokens)
    scene = draw_scene(
        lambda: SCENES[kind](rng, size, _scene_budget_tokens(rng, kind, budget_tokens)), "train"
    )
    exchanges = [scene.opening, *scene.then]
    used_tokens = sum(_exchange_tokens(exchange, size) for exchange in exchanges)
    while True:
        further = scene.ask(rng) if scene.ask and rng.random() < 0.75 else _side_exchange(rng, size, kind)
        used_tokens += _exchange_tokens(further, size)
        if used_tokens > budget_tokens:
            return Conversation(system_prompt(rng), scene.opening.tools, tuple(exchanges))
        exchanges.append(further)


def _scene_budget_tokens(rng: Random, kind: str, budget_tokens: int) -> int:
    if kind == "tool_call":
        return budget_tokens
    largest = 0.42 if kind == "copy" else 0.85
    return max(6, int(budget_tokens * rng.uniform(0.05, largest)))


def _side_exchange(rng: Random, size: SizeTokens, kind: str) -> Exchange:
    if kind not in ("repeat", "recall") and rng.random() < 0.3:
        return draw_scene(lambda: copying.copy(rng, size, rng.randint(3, 40)), "train").opening
    return small_exchange(rng, "train")


def _small_exchanges(rng: Random, size: SizeTokens, budget_tokens: int) -> list[Exchange]:
    return text.fill(
        lambda: small_exchange(rng, "train"), lambda exchange: _exchange_tokens(exchange, size), budget_tokens
    )


def _exchange_tokens(exchange: Exchange, size: SizeTokens) -> int:
    tools_tokens = size(str(exchange.tools)) if exchange.tools else 0
    return size(exchange.question) + size(exchange.answer) + TURN_OVERHEAD_TOKENS + tools_tokens


def tokenizer_texts(seed: int, conversations: int) -> list[str]:
    """Text on which the tokenizer is built: conversations of the training split, and every listed word."""
    rng = Random(f"tokenizer {seed}")
    lines: list[str] = []
    for _ in range(conversations):
        made = training_conversation(rng, lambda s: len(s) // 3, 300)
        lines += [message.content for message in made.messages()]
        lines += [str(tool).replace("'", '"') for tool in made.tools]
    listed = (*_ROLES, *_NUMBERS, *words.ALL)
    return lines + [f"{word} {word}" for word in listed for _ in range(WORD_REPEATS)]
