"""Many streams at once, each checked token for token."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mesh import model
from tests.mesh.client import Answer, stream


@dataclass
class Load:
    """`count` streams against one mesh, begun at once; prompts are drawn from `seed`."""

    url: str
    model_dir: Path
    count: int
    max_tokens: int
    prompt_tokens: int = 200
    seed: int = 1

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        self.prompts = [[rng.randrange(256) for _ in range(self.prompt_tokens)] for _ in range(self.count)]
        self.answers = [Answer() for _ in range(self.count)]

    async def run(self, act: Callable[[], Any] | None = None, after_tokens: int = 0) -> None:
        """Run all to their end; `act` is called in mid-stream, once each has `after_tokens` tokens."""
        async with asyncio.TaskGroup() as tasks:
            for prompt, answer in zip(self.prompts, self.answers, strict=True):
                tasks.create_task(stream(f"{self.url}/v1/completions", self.body(prompt), answer))
            if act is not None:
                await self.progress(after_tokens)
                act()

    async def progress(self, token_count: int) -> None:
        """Until every stream has this many tokens."""
        while any(a.text.count(" w") < token_count and not (a.is_done or a.error) for a in self.answers):
            await asyncio.sleep(0.005)

    def body(self, prompt: list[int]) -> dict[str, Any]:
        """One request."""
        return {
            "model": self.model_dir.name,
            "prompt": prompt,
            "max_tokens": self.max_tokens,
            "stream": True,
            "pdmesh": {"receipt": True},
        }

    def faults(self) -> list[str]:
        """What is wrong, one line per stream; empty when all are complete and correct."""
        pairs = enumerate(zip(self.prompts, self.answers, strict=True))
        return [f"stream {i}: {fault}" for i, (p, a) in pairs if (fault := self._fault(p, a))]

    def _fault(self, prompt: list[int], answer: Answer) -> str:
        if answer.status != 200 or answer.error:
            return f"status {answer.status}, error {answer.error}"
        if not answer.is_done or answer.finish_reason != "length":
            return f"ended with {answer.finish_reason!r}, done {answer.is_done}"
        expected = model.expected_text(self.model_dir, prompt, self.max_tokens)
        if answer.text != expected:
            return f"{_first_difference(answer.text.split(), expected.split())}"
        return ""


@dataclass
class Crowd:
    """Clients that ask again and again, each answer checked token for token. `size` may change meanwhile."""

    url: str
    model_dir: Path
    max_tokens: int
    size: int = 0

    async def run(self, size: int) -> None:
        """Until `size` is 0 and the last answer has come, or one of them is wrong: AssertionError."""
        self.size = size
        async with asyncio.TaskGroup() as tasks:
            for number in range(size):
                tasks.create_task(self._client(number))

    async def _client(self, number: int) -> None:
        seed = number * 1_000
        while number < self.size:
            seed += 1
            load = Load(self.url, self.model_dir, count=1, max_tokens=self.max_tokens, seed=seed)
            await load.run()
            assert load.faults() == []


def _first_difference(got: list[str], expected: list[str]) -> str:
    pairs = enumerate(zip(got, expected, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(got), len(expected)))
    here = slice(at, at + 3)
    return f"{len(got)} of {len(expected)} tokens, differ at {at}: {got[here]} != {expected[here]}"
