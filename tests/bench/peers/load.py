"""The clients, a process of their own: N of them, each asking again as soon as it has its answer.

python -m tests.bench.peers.load URL --streams 64 --rounds 3 ...   prints one JSON object

They only count tokens (" w" and digits) as bytes come in, so that they cost less than what they measure. A
request counts as whole when exactly as many came as were asked for, and then `[DONE]`.
"""

import argparse
import asyncio
import json
import random
import resource
import string
import sys
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

import uvloop

from tests.bench.load import quantile
from tests.mesh.client import request_bytes

ANSWER_S_MAX = 240.0
"""A request that takes longer has failed."""
MARK, DONE = b" w", b"[DONE]"
"""Ours begin every token with the mark, and nothing else that comes has it."""


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
    """Clients begin evenly spread over this time."""


class Tally:
    """Counts tokens in an answer's bytes, cut anywhere; what stands in its headers is none."""

    def __init__(self) -> None:
        self._head: bytes | None = b""
        self._last = b""
        self._tail = b""
        self.status = b""
        self.is_done = False

    def add(self, data: bytes) -> int:
        """Tokens that begin in these bytes, or began with the last byte before them."""
        if self._head is not None:
            head, end, body = (self._head + data).partition(b"\r\n\r\n")
            self._head = None if end else head
            self.status = head[9:12]
            return self._add_body(body) if end else 0
        return self._add_body(data)

    def _add_body(self, data: bytes) -> int:
        tokens = (self._last + data).count(MARK)
        self._last = data[-1:] if data.endswith(MARK[:1]) else b""
        seen = self._tail + data
        self.is_done = self.is_done or DONE in seen
        self._tail = seen[-len(DONE) :]
        return tokens


@dataclass
class Seen:
    """One answer as its client saw it."""

    began_s: float
    wanted: int
    arrivals_s: list[float] = field(default_factory=list)
    """When each token came."""
    status: bytes = b""
    is_done: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing and nothing is too much."""
        return self.is_done and self.status == b"200" and len(self.arrivals_s) == self.wanted


class Exchange(asyncio.Protocol):
    """One request on a connection of its own."""

    def __init__(self, request: bytes, seen: Seen) -> None:
        self._request, self._seen = request, seen
        self._tally = Tally()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note what came, and when."""
        now_s, seen = perf_counter(), self._seen
        seen.arrivals_s.extend([now_s] * self._tally.add(data))
        seen.status = self._tally.status
        if self._tally.is_done:
            seen.is_done = True
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whether whole or not, it is over."""
        if not self.over.done():
            self.over.set_result(None)


async def ask(plan: Plan, rng: random.Random) -> Seen:
    """One request with a prompt of its own: each letter is a token at pdmesh, and one at nobody else."""
    content = "".join(rng.choices(string.ascii_lowercase, k=plan.prompt_tokens))
    messages = [{"role": "user", "content": content}]
    body = {"model": plan.model, "messages": messages, "max_tokens": plan.output_tokens, "stream": True}
    parts = urlsplit(plan.url)
    request = request_bytes(parts.netloc, "/v1/chat/completions", body)
    seen = Seen(perf_counter(), plan.output_tokens)
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            _, exchange = await asyncio.get_running_loop().create_connection(
                lambda: Exchange(request, seen), parts.hostname, parts.port
            )
            await exchange.over
    except (OSError, TimeoutError):
        pass  # not whole, and counted as such
    return seen


async def client(plan: Plan, number: int, all_seen: list[Seen]) -> None:
    """One client's requests, one after another."""
    rng = random.Random(number)
    await asyncio.sleep(plan.spread_s * number / plan.streams)
    for _ in range(plan.rounds):
        all_seen.append(await ask(plan, rng))


async def run(plan: Plan) -> dict[str, float]:
    """All clients to their end."""
    all_seen: list[Seen] = []
    began_s = perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(plan.streams):
            tasks.create_task(client(plan, number, all_seen))
    return summary(all_seen, perf_counter() - began_s)


def summary(all_seen: list[Seen], wall_s: float) -> dict[str, float]:
    """Counts, and quantiles over what is whole, in milliseconds."""
    whole = [seen for seen in all_seen if seen.is_whole]
    ttfts = sorted((seen.arrivals_s[0] - seen.began_s) * 1e3 for seen in whole)
    gaps = sorted(
        (later - earlier) * 1e3
        for seen in whole
        for earlier, later in zip(seen.arrivals_s, seen.arrivals_s[1:], strict=False)
    )
    tokens = sum(len(seen.arrivals_s) for seen in all_seen)
    names = {"p50": 0.5, "p99": 0.99}
    return {
        "requests": len(all_seen),
        "failed": len(all_seen) - len(whole),
        "tokens": tokens,
        "wall_s": wall_s,
        "tokens_per_s": tokens / wall_s,
        **{f"ttft_ms_{name}": quantile(ttfts, share) for name, share in names.items()},
        **{f"gap_ms_{name}": quantile(gaps, share) for name, share in names.items()},
    }


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--model", required=True)
    for name in ("streams", "rounds", "prompt-tokens", "output-tokens"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--spread-s", type=float, default=0.0)
    plan = Plan(**vars(parser.parse_args()))
    told = uvloop.run(run(plan))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"plan": asdict(plan), "load_cpu_s": used.ru_utime + used.ru_stime, **told}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
