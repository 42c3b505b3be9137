"""Poisson arrivals of long prompts and chats; prints one JSON object per request.

python -m tests.bench.isolation.load URL --model NAME --vocabulary 2816 --rate 4 --seconds 30 --seed 1
"""

import argparse
import asyncio
import itertools
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import uvloop

from tests.mesh.client import Answer, ConnectionCut, stream

LONG_SHARE = 0.25
"""Of the requests; they bring most of the prompt tokens."""
LONG, CHAT = "long", "chat"
LENGTHS = {LONG: ((1_500, 2_500), (16, 48)), CHAT: ((40, 160), (60, 140))}
"""Least and most tokens of prompt and answer."""
FIRST_ORDINARY_ID = 16
"""Ids below may be special tokens."""


@dataclass(frozen=True)
class Arrival:
    """One request."""

    at_s: float
    kind: str
    prompt_tokens: int
    output_tokens: int


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[Arrival]:
    """Requests with exponential gaps; the same for the same seed."""
    draw = random.Random(seed)
    at_s = draw.expovariate(rate)
    while at_s < seconds:
        kind = LONG if draw.random() < LONG_SHARE else CHAT
        prompt, output = LENGTHS[kind]
        yield Arrival(at_s, kind, draw.randint(*prompt), draw.randint(*output))
        at_s += draw.expovariate(rate)


class Clients:
    """All requests of a run. No two prompts share a block, those of other runs and rates included: an engine
    that had one in its prefix cache would not run it."""

    def __init__(self, url: str, model: str, vocabulary: int) -> None:
        self._url, self._model = f"{url}/v1/completions", model
        self._ids = range(FIRST_ORDINARY_ID, vocabulary)
        self._draw = random.SystemRandom()

    async def ask(self, arrival: Arrival) -> dict[str, Any]:
        """One request; its record."""
        body = {
            "model": self._model,
            "prompt": self._draw.choices(self._ids, k=arrival.prompt_tokens),
            "max_tokens": arrival.output_tokens,
            "ignore_eos": True,
            "temperature": 0.0,
            "stream": True,
            "pdmesh": {"receipt": True},
        }
        answer = Answer()
        try:
            await stream(self._url, body, answer)
        except ConnectionCut as cut:
            answer.error = {"message": str(cut)}
        return record(arrival, answer)

    async def run(self, all_arrivals: list[Arrival]) -> None:
        """Each at its time, whatever becomes of the others."""
        loop = asyncio.get_running_loop()
        zero_s = loop.time()
        async with asyncio.TaskGroup() as tasks:
            for arrival in all_arrivals:
                await asyncio.sleep(max(0.0, zero_s + arrival.at_s - loop.time()))
                tasks.create_task(self._tell(arrival))

    async def _tell(self, arrival: Arrival) -> None:
        print(json.dumps(await self.ask(arrival)), flush=True)


def record(arrival: Arrival, answer: Answer) -> dict[str, Any]:
    """What one client saw; times in milliseconds, None and empty where the answer is not whole."""
    tokens = int(answer.receipt.get("generated_tokens", 0))
    is_whole = answer.is_done and not answer.error and bool(answer.arrivals_s)
    times_s = answer.arrivals_s if is_whole and tokens == arrival.output_tokens else []
    pairs = itertools.pairwise(times_s)
    return {
        "kind": arrival.kind,
        "prompt_tokens": arrival.prompt_tokens,
        "whole": bool(times_s),
        "error": answer.error.get("message", ""),
        "ttft_ms": (times_s[0] - answer.began_s) * 1e3 if times_s else None,
        "tpot_ms": (times_s[-1] - times_s[0]) / max(1, tokens - 1) * 1e3 if times_s else None,
        "gaps_ms": [round((later - earlier) * 1e3, 2) for earlier, later in pairs],
        "path": answer.receipt.get("path"),
        "queue_ms": answer.receipt.get("queue_ms"),
        "prefill_ms": answer.receipt.get("prefill_ms"),
        "handoff_ms": answer.receipt.get("handoff_ms"),
    }


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--model", required=True)
    for name, kind in (("vocabulary", int), ("rate", float), ("seconds", float), ("seed", int)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    asked = parser.parse_args()
    clients = Clients(asked.url, asked.model, asked.vocabulary)
    uvloop.run(clients.run(list(arrivals(asked.rate, asked.seconds, asked.seed))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
