"""What a tenant was charged, as its headers and the report of usage say."""

import asyncio
from dataclasses import dataclass
from typing import Any

from tests.wire.accounting.conftest import Limited

TOKENS, REQUESTS = 1_200, 12
"""Limits a minute, of which little comes back while a test runs."""
PROMPT_TOKENS = 300
SLACK = 150
"""Tokens that may come back meanwhile, in 7.5 s: half of a prompt."""
PROBE_TOKENS = 5 + 1
"""What the probe itself takes."""


@dataclass(frozen=True)
class Charged:
    """Since the tenant began."""

    requests: int
    tokens: int
    rows: list[tuple[int, int, int]]
    """Of the report: requests, prompt tokens, generated tokens."""


async def until_idle(it: Limited) -> None:
    """Wait until the router has ended all that this gateway had there."""
    while (await it.edge.metrics())["pdmesh_gateway_open_streams"]:
        await asyncio.sleep(0.01)


async def charged(it: Limited) -> Charged:
    """What the tenant has paid once nothing is in flight: the report, then the headers of one more answer."""
    await until_idle(it)
    rows: list[dict[str, Any]] = await it.keys.rows(it.edge.port)
    it.edge.router.script = it.edge.says("a")
    headers = (await it.ask(max_tokens=1)).headers
    return Charged(
        REQUESTS - int(headers["x-ratelimit-remaining-requests"]) - 1,
        TOKENS - int(headers["x-ratelimit-remaining-tokens"]) - PROBE_TOKENS,
        [(row["requests"], row["prompt_tokens"], row["generated_tokens"]) for row in rows],
    )
