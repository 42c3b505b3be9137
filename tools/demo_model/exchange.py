"""A question with its one right answer, and the split that keeps evaluation questions out of training."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

from tools.demo_model.chat import Tool

Split = Literal["train", "heldout"]

HELDOUT_SHARE_PERCENT = 8
DRAWS_MAX = 10_000


@dataclass(frozen=True)
class Exchange:
    """One turn put to the model and the answer it must give.

    ``content`` identifies what the answer depends on (the table, the text, the operands, the wording):
    exchanges with equal content always fall on the same side of the split.
    """

    task: str
    question: str
    answer: str
    content: str
    role: str = "user"
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True)
class Scene:
    """A context, stated in the opening question, and further questions about it."""

    opening: Exchange
    ask: Callable[[Random], Exchange] | None = None
    then: tuple[Exchange, ...] = ()


def split_of(content: str) -> Split:
    """Which split a content belongs to: a stable function of its text alone."""
    return "heldout" if zlib.crc32(content.encode()) % 100 < HELDOUT_SHARE_PERCENT else "train"


def draw_scene(build: Callable[[], Scene], split: Split) -> Scene:
    """Build scenes until one belongs to the split."""
    for _ in range(DRAWS_MAX):
        scene = build()
        if split_of(scene.opening.content) == split:
            return scene
    raise RuntimeError(f"no {split} scene in {DRAWS_MAX} draws")
