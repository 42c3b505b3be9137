"""Clients in a process of their own; prints one JSON object per request.

python -m tests.bench.scaling.load URL --model NAME burst --phases 30:50,240:200,60:50
python -m tests.bench.scaling.load URL --model NAME trace --file FILE --seconds 600 --speed 2
"""

import argparse
import asyncio
import csv
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time

import uvloop

from tests.bench.scaling.shape import SLOWER
from tests.mesh.client import Answer, ConnectionCut, stream

WORDS = 256
ANSWER_S = 3.4 * SLOWER
"""About one answer's time: new clients begin evenly spread over it, as ones that have been there for long."""


@dataclass(frozen=True)
class Arrival:
    """One request of a trace."""

    at_s: float
    prompt_tokens: int
    output_tokens: int


class Clients:
    """All requests of a run."""

    def __init__(self, url: str, model: str) -> None:
        self._url, self._model = f"{url}/v1/completions", model
        self._random = random.Random(1)

    async def ask(self, prompt_tokens: int, output_tokens: int) -> None:
        """One request; its record goes to standard output."""
        prompt = [self._random.randrange(WORDS) for _ in range(prompt_tokens)]
        body = {"model": self._model, "prompt": prompt, "max_tokens": output_tokens, "stream": True}
        began_s, answer = time(), Answer()
        try:
            await stream(self._url, body, answer)
        except ConnectionCut as cut:
            answer.error = {"message": str(cut)}
        print(json.dumps(record(began_s, answer, output_tokens)), flush=True)

    async def burst(self, phases: list[tuple[float, int]]) -> None:
        """So many clients for so long, phase after phase; each asks again at once."""
        loop = asyncio.get_running_loop()
        usual, ends_s = min(number for _, number in phases), loop.time() + sum(s for s, _ in phases)
        async with asyncio.TaskGroup() as tasks:
            self._begin(tasks, usual, ends_s)
            for seconds, number in phases:
                self._begin(tasks, number - usual, loop.time() + seconds)
                await asyncio.sleep(seconds)

    def _begin(self, tasks: asyncio.TaskGroup, number: int, leave_s: float) -> None:
        for i in range(number):
            tasks.create_task(self._client(ANSWER_S * i / number, leave_s))

    async def _client(self, delay_s: float, leaves_s: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(delay_s)
        while loop.time() < leaves_s:
            await self.ask(500, 200)

    async def trace(self, arrivals: list[Arrival]) -> None:
        """Each at its time, whatever becomes of the others."""
        loop = asyncio.get_running_loop()
        zero_s = loop.time()
        async with asyncio.TaskGroup() as tasks:
            for arrival in arrivals:
                await asyncio.sleep(max(0.0, zero_s + arrival.at_s - loop.time()))
                tasks.create_task(self.ask(arrival.prompt_tokens, arrival.output_tokens))


def record(began_s: float, answer: Answer, wanted: int) -> dict[str, object]:
    """What one client saw; times in milliseconds."""
    whole = answer.is_done and not answer.error and bool(answer.arrivals_s)
    first_ms = (answer.arrivals_s[0] - answer.began_s) * 1e3 if whole else None
    last_ms = (answer.arrivals_s[-1] - answer.began_s) * 1e3 if whole else None
    tokens = answer.text.count(" w")
    gaps = max(1, tokens - 1)
    return {
        "began_s": began_s,
        "whole": whole and tokens == wanted,
        "refused": answer.status == 503,
        "error": f"{answer.status} {answer.error.get('message', '')}".strip() if not whole else "",
        "ttft_ms": first_ms,
        "e2e_ms": last_ms,
        "tpot_ms": (last_ms - first_ms) / gaps if whole and tokens > 1 else None,
    }


def read_trace(file: Path, seconds: float, speed: float) -> Iterator[Arrival]:
    """The requests of the first so many seconds, at so many times their pace."""
    with file.open() as lines:
        for row in csv.DictReader(lines):
            at_s = int(row["at_ms"]) / 1e3 / speed
            arrival = Arrival(at_s, int(row["prompt_tokens"]), int(row["output_tokens"]))
            if arrival.at_s < seconds:
                yield arrival


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--model", required=True)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("burst").add_argument("--phases", required=True)
    trace = kinds.add_parser("trace")
    trace.add_argument("--file", type=Path, required=True)
    trace.add_argument("--seconds", type=float, required=True)
    trace.add_argument("--speed", type=float, default=1.0)
    asked = parser.parse_args()
    clients = Clients(asked.url, asked.model)
    if asked.kind == "trace":
        uvloop.run(clients.trace(list(read_trace(asked.file, asked.seconds, asked.speed))))
    else:
        pairs = (phase.split(":") for phase in asked.phases.split(","))
        uvloop.run(clients.burst([(float(seconds), int(number)) for seconds, number in pairs]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
