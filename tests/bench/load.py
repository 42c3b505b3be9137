"""The load generator, a process of its own: N clients, each asking again as soon as it has its answer.

python -m tests.bench.load URL --streams 64 --rounds 3 ...   prints one JSON object
"""

import argparse
import asyncio
import json
import random
import string
import sys
from dataclasses import asdict, dataclass
from time import perf_counter, process_time

import uvloop

from tests.mesh.client import Answer, stream

LETTERS = string.ascii_lowercase
"""Each is one token of the benched model."""


@dataclass(frozen=True)
class Plan:
    """What to ask, how often, by how many at once."""

    url: str
    model: str
    streams: int
    rounds: int
    prompt_tokens: int
    output_tokens: int
    spread_s: float
    """Clients begin evenly spread over this time, so that they do not step together."""
    seed: int
    """Other seeds, other prompts: one that was asked before is cached, and takes another path."""
    receipts: bool
    """Whether to ask the mesh for receipts, which say how long the prefill worker took."""


@dataclass(frozen=True)
class Outcome:
    """What the clients saw; times in milliseconds."""

    requests: int
    tokens: int
    failed: int
    wall_s: float
    ttft_ms_p50: float
    ttft_ms_p99: float
    prefill_ms_p50: float
    """From the router's word to a prefill worker until its answer; 0 without receipts."""
    rest_of_ttft_ms_p50: float
    """What else was waited for the first token; all, without receipts."""
    gap_ms_p50: float
    gap_ms_p99: float
    load_cpu_s: float
    """What this process spent itself."""


async def run(plan: Plan) -> Outcome:
    """Run all clients to their end."""
    answers: list[Answer] = []
    began_s = perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(plan.streams):
            tasks.create_task(client(plan, number, answers))
    return outcome(answers, perf_counter() - began_s)


async def client(plan: Plan, number: int, answers: list[Answer]) -> None:
    """One client's requests, one after another."""
    rng = random.Random(f"{plan.seed} {number}")
    await asyncio.sleep(plan.spread_s * number / plan.streams)
    for _ in range(plan.rounds):
        prompt = "".join(rng.choices(LETTERS, k=plan.prompt_tokens))
        body = {"model": plan.model, "prompt": prompt, "max_tokens": plan.output_tokens, "stream": True}
        body |= {"pdmesh": {"receipt": True}} if plan.receipts else {}
        answers.append(await stream(f"{plan.url}/v1/completions", body))


def outcome(answers: list[Answer], wall_s: float) -> Outcome:
    """Quantiles over all answers."""
    whole = [answer for answer in answers if answer.is_done and answer.arrivals_s]
    parts = [((a.arrivals_s[0] - a.began_s) * 1e3, float(a.receipt.get("prefill_ms", 0.0))) for a in whole]
    ttfts = sorted(ttft for ttft, _ in parts)
    gaps = sorted(
        (later - earlier) * 1e3
        for a in whole
        for earlier, later in zip(a.arrivals_s, a.arrivals_s[1:], strict=False)
    )
    return Outcome(
        requests=len(answers),
        tokens=sum(len(a.text.split()) for a in whole),
        failed=len(answers) - len(whole),
        wall_s=wall_s,
        ttft_ms_p50=quantile(ttfts, 0.5),
        ttft_ms_p99=quantile(ttfts, 0.99),
        prefill_ms_p50=quantile(sorted(prefill for _, prefill in parts), 0.5),
        rest_of_ttft_ms_p50=quantile(sorted(ttft - prefill for ttft, prefill in parts), 0.5),
        gap_ms_p50=quantile(gaps, 0.5),
        gap_ms_p99=quantile(gaps, 0.99),
        load_cpu_s=process_time(),
    )


def quantile(ordered: list[float], share: float) -> float:
    """The value that this share of an ordered list does not exceed; 0.0 for an empty one."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--model", required=True)
    for name in ("streams", "rounds", "prompt-tokens", "output-tokens"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--spread-s", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--receipts", action="store_true")
    plan = Plan(**vars(parser.parse_args()))
    print(json.dumps(asdict(uvloop.run(run(plan)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
