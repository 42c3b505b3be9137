"""How long prompts and answers are."""

import math
from dataclasses import dataclass
from random import Random
from typing import Protocol

from services.common.errors import BadSetting
from services.planner.hardware.unknown_name import unknown_name
from services.planner.load.ask import Ask

TOKENS_MAX = 10_000_000
SPREADS = ("fixed", "uniform", "lognormal")
EVEN_LEAST = 0.8
"""Benchmarks of serving draw lengths evenly from 80 to 100 % of those that they state."""
SIGMA = 0.6
"""Of the logarithm: the 95th percentile is 2.7 times the median, as in published conversations."""


class Lengths(Protocol):
    """Draws requests."""

    def draw(self, random: Random) -> Ask:
        """The next request."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Prompt and answer drawn one by one; `spread` says how they vary.

    `fixed`: never. `uniform`: evenly from `EVEN_LEAST` of the stated length up to it. `lognormal`: with the
    stated length as their mean.
    """

    prompt_tokens: int
    answer_tokens: int
    spread: str = "uniform"
    shared_prefix_tokens: int = 0
    """All prompts begin with the same so many tokens, as with one system prompt."""
    piece_tokens: int = 512

    def __post_init__(self) -> None:
        for name, tokens in (("prompt", self.prompt_tokens), ("output", self.answer_tokens)):
            if not 1 <= tokens <= TOKENS_MAX:
                raise BadSetting(f"--{name}-tokens: {tokens} is not between 1 and {TOKENS_MAX:,}")
        if self.spread not in SPREADS:
            raise unknown_name("--spread", "spread", self.spread, SPREADS)
        if not 0 <= self.shared_prefix_tokens <= self.prompt_tokens:
            raise BadSetting("--shared-prefix-tokens must not be more than --prompt-tokens")

    def draw(self, random: Random) -> Ask:
        """The next request."""
        prompt = max(self._length(self.prompt_tokens, random), self.shared_prefix_tokens)
        pieces = tuple(range(self.shared_prefix_tokens // self.piece_tokens))
        return Ask(prompt, self._length(self.answer_tokens, random), pieces)

    def _length(self, stated: int, random: Random) -> int:
        if self.spread == "fixed":
            return stated
        if self.spread == "uniform":
            return random.randint(max(1, math.ceil(stated * EVEN_LEAST)), stated)
        mu = math.log(stated) - SIGMA * SIGMA / 2
        return max(1, round(random.lognormvariate(mu, SIGMA)))
