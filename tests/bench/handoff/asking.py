"""Requests whose times and receipts are kept."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.mesh.client import Answer, stream

FIRST_ORDINARY_ID = 300
"""Ids below may be special tokens, or halves of characters."""


@dataclass(frozen=True)
class Told:
    """One answer; milliseconds."""

    ttft_ms: float
    second_gap_ms: float
    """From the first token to the second: the handoff, and a step of the decode worker."""
    gaps_ms: tuple[float, ...]
    handoff_s: tuple[float, float]
    """When the first token came, and when the second: the handoff lies between them."""
    receipt: dict[str, Any]


class Asker:
    """Asks one mesh; no two prompts share a block."""

    def __init__(self, url: str, model: str, vocabulary: int) -> None:
        self._url, self._model = f"{url}/v1/completions", model
        self._ids = range(FIRST_ORDINARY_ID, vocabulary)
        self._draw = random.Random(3)

    def body(self, prompt_tokens: int, output_tokens: int) -> dict[str, Any]:
        """One request."""
        return {
            "model": self._model,
            "prompt": self._draw.choices(self._ids, k=prompt_tokens),
            "max_tokens": output_tokens,
            "ignore_eos": True,
            "temperature": 0.0,
            "stream": True,
            "pdmesh": {"receipt": True},
        }

    async def ask(self, prompt_tokens: int, output_tokens: int, answer: Answer | None = None) -> Told:
        """One request to its end; `answer` may be watched meanwhile. Raises RuntimeError when it fails."""
        answer = answer or Answer()
        await stream(self._url, self.body(prompt_tokens, output_tokens), answer)
        return told(answer)


def told(answer: Answer) -> Told:
    """The times of a whole answer."""
    if not answer.is_done or answer.error or not answer.receipt:
        raise RuntimeError(f"a request failed: status {answer.status}, {answer.error}")
    times_s = answer.arrivals_s
    gaps_ms = tuple((b - a) * 1e3 for a, b in pairwise(times_s))
    first_gap_ms = gaps_ms[0] if gaps_ms else 0.0
    return Told(
        (times_s[0] - answer.began_s) * 1e3,
        first_gap_ms,
        gaps_ms,
        (times_s[0], times_s[min(1, len(times_s) - 1)]),
        answer.receipt,
    )


Pick = Callable[[Told], float]


def middle(answers: list[Told], pick: Pick) -> float:
    """The median of what is picked."""
    ordered = sorted(map(pick, answers))
    return ordered[len(ordered) // 2] if ordered else 0.0
