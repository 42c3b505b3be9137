"""The prompts whose tokens are compared, and what vLLM alone makes of them."""

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.vllm_reference import TOKENS

LENGTHS = (5, 127, 128, 129, 600, 2000)
"""Around the edges of a 128-token block."""
CONCURRENT = 16

Reference = dict[tuple[int, ...], list[int]]
"""Greedy tokens by prompt."""


def prompt_of(length: int, seed: int = 0) -> list[int]:
    """A prompt that shares no block with one of another length or seed."""
    draw = random.Random(length * 1_000 + seed)
    return [draw.randrange(256) for _ in range(length)]


def crowd() -> list[list[int]]:
    """Prompts of many lengths, to be run at once."""
    draw = random.Random(16)
    return [prompt_of(draw.randrange(20, 900), seed=100 + i) for i in range(CONCURRENT)]


def generate(model: Path) -> Reference:
    """Greedy tokens of all of them."""
    return complete(model, [prompt_of(n) for n in LENGTHS] + crowd())


def complete(model: Path, prompts: Sequence[list[int]], tokens_max: int = TOKENS) -> Reference:
    """Greedy tokens of vLLM's own `LLM` class for each prompt, in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.e2e.vllm_reference", str(model), str(tokens_max)]
    done = subprocess.run(command, input=json.dumps(prompts), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2_000:]
    generated = json.loads(done.stdout.splitlines()[-1])
    return {tuple(prompt): ids for prompt, ids in zip(prompts, generated, strict=True)}
