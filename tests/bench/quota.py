"""How far four gateways let one tenant over its limit under full load, with a real Redis between them.

python -m tests.bench.quota [--gateways 4] [--seconds 6] [--limit 600000] [--json FILE]

Each gateway is a process with quotas of its own; each asks for requests of random size as fast as it is
refused, for the whole time. Allowed is one minute's limit at once and the limit's rate from then on; what is
let in above that is the overshoot. The share of the allowed that is let in shows that it is not kept by
refusing too much. Requests use half of what they reserve, which goes back.
"""

import argparse
import asyncio
import gc
import json
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from services.common.clock import MonotonicClock
from services.common.errors import QuotaExceeded
from services.gateway.accounts.quota.opening import open_quotas
from services.gateway.tenants import Caller, TenantQuota
from tests.redis_server import running_redis

RESULTS = Path(__file__).parent / "results" / "quota.json"
TOKENS_MIN, TOKENS_MAX = 100, 3_000
RUNNING_S = 0.05
"""How long a request runs."""


@dataclass(frozen=True, slots=True)
class Overshoot:
    """All gateways together."""

    gateways: int
    limit: int
    seconds: float
    used: int
    """Tokens of requests that were let in."""
    allowed: float
    overshoot_of_limit: float
    """What was used above the allowed, as a share of a minute's limit; negative is below."""
    used_of_allowed: float
    refused: int
    decisions_per_s: float


async def hammer(store: str, name: str, limit: int, seconds: float) -> dict[str, float]:
    """One gateway under full load: tokens used, decisions, refusals."""
    caller = Caller(tenant="acme", quota=TenantQuota(tokens_per_minute=limit))
    clock, sizes = MonotonicClock(), random.Random(name)
    used = refused = decisions = 0
    gc.freeze()
    loop = asyncio.get_running_loop()
    quotas = open_quotas(store, name, clock, CollectorRegistry())
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(quotas.run())
        await asyncio.sleep(0.5)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        started_s = time.monotonic()
        ends_ms = clock.now_ms() + seconds * 1000.0
        while clock.now_ms() < ends_ms:
            tokens = sizes.randint(TOKENS_MIN, TOKENS_MAX)
            if (waiting := quotas.borrow(caller, tokens)) is not None:
                await waiting
            decisions += 1
            try:
                reservation = quotas.reserve(caller, tokens)
            except QuotaExceeded:
                refused += 1
                await asyncio.sleep(0.001)
            else:
                used += tokens // 2
                loop.call_later(RUNNING_S, reservation.settle, tokens // 2)
                await asyncio.sleep(0)
        ended_s = time.monotonic()
        await asyncio.sleep(2 * RUNNING_S)
        running.cancel()
    await quotas.close()
    return {
        "used": used,
        "refused": refused,
        "decisions": decisions,
        "started_s": started_s,
        "ended_s": ended_s,
    }


def measure(gateways: int, limit: int, seconds: float) -> Overshoot:
    """Run the gateways, and compare what they let in with what they may."""
    with running_redis() as store:
        command = [sys.executable, "-m", "tests.bench.quota", "--as-gateway", store]
        command += ["--limit", str(limit), "--seconds", str(seconds)]
        processes = [_gateway([*command, "--name", f"gateway-{i}"]) for i in range(gateways)]
        for process in processes:
            process.stdout.readline()  # it is ready
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [json.loads(process.communicate()[0]) for process in processes]
        elapsed_s = max(one["ended_s"] for one in said) - min(one["started_s"] for one in said)
    used = int(sum(one["used"] for one in said))
    allowed = limit * (1 + elapsed_s / 60.0)
    return Overshoot(
        gateways=gateways,
        limit=limit,
        seconds=round(elapsed_s, 2),
        used=used,
        allowed=round(allowed, 1),
        overshoot_of_limit=round((used - allowed) / limit, 4),
        used_of_allowed=round(used / allowed, 4),
        refused=int(sum(one["refused"] for one in said)),
        decisions_per_s=round(sum(one["decisions"] for one in said) / elapsed_s, 1),
    )


def _gateway(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main() -> int:
    """Entry point; exit code 1 for an overshoot of 2 % or more."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gateways", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--limit", type=int, default=600_000, help="tokens a minute")
    parser.add_argument("--json", type=Path, help="write the result there")
    parser.add_argument("--as-gateway", help=argparse.SUPPRESS)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.as_gateway:
        said = asyncio.run(hammer(asked.as_gateway, asked.name, asked.limit, asked.seconds))
        print(json.dumps(said))
        return 0
    result = measure(asked.gateways, asked.limit, asked.seconds)
    print(json.dumps(asdict(result), indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(asdict(result), indent=2) + "\n")
    return 1 if result.overshoot_of_limit >= 0.02 else 0


if __name__ == "__main__":
    sys.exit(main())
