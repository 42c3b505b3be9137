"""The experiments, each on a mesh of one prefill and one decode worker that is warm."""

import asyncio
import os
import signal
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.bench.handoff.asking import Asker, Told, middle
from tests.bench.handoff.memcpy import memcpy_gb_per_s
from tests.bench.peers.tree import tree
from tests.mesh.client import Answer

HOLD_S = 1.5
"""How long the decode engine is held; a lease is ten times that."""
BACKGROUND_TOKENS_MAX = 3_000
"""The background stream is left when the handoffs are over."""
MOVED = ("pdmesh_worker_nixl_bytes", "pdmesh_worker_nixl_transfer_seconds")


@dataclass(frozen=True)
class Plan:
    """How much is asked."""

    prompts: tuple[int, ...] = (256, 512, 1_024, 2_048)
    repeats: int = 5
    background_tokens: int = 400
    overlapped: int = 6
    """Handoffs beside the background stream."""
    overlapped_prompt: int = 2_048


async def by_size(asker: Asker, metrics_url: str, plan: Plan) -> list[dict[str, Any]]:
    """Prompts one after another: bytes, rates and times for each length."""
    rows = []
    for length in plan.prompts:
        before = moved(metrics_url)
        answers = [await asker.ask(length, 8) for _ in range(plan.repeats)]
        after = moved(metrics_url)
        rate = memcpy_gb_per_s(answers[0].receipt["kv_size_bytes"])
        rows.append(row(length, answers, [b - a for a, b in zip(before, after, strict=True)], rate))
    return rows


def row(
    length: int, answers: list[Told], moved_bytes_and_s: Sequence[float], memcpy_rate: float
) -> dict[str, Any]:
    """One length; medians, and NIXL's own totals of bytes and seconds."""
    kv_bytes = answers[0].receipt["kv_size_bytes"]
    handoff_ms = middle(answers, lambda t: t.receipt["handoff_ms"])
    ttft_ms = middle(answers, lambda t: t.ttft_ms)
    nixl_bytes, nixl_s = moved_bytes_and_s
    return {
        "prompt_tokens": length,
        "disaggregated": sum(t.receipt["path"] == "disaggregated" for t in answers),
        "requests": len(answers),
        "kv_bytes": kv_bytes,
        "ttft_ms": ttft_ms,
        "queue_ms": middle(answers, lambda t: t.receipt["queue_ms"]),
        "prefill_ms": middle(answers, lambda t: t.receipt["prefill_ms"]),
        "handoff_ms": handoff_ms,
        "second_gap_ms": middle(answers, lambda t: t.second_gap_ms),
        "later_gap_ms": middle(answers, lambda t: sorted(t.gaps_ms[1:])[len(t.gaps_ms[1:]) // 2]),
        "transfer_ms": nixl_s / len(answers) * 1e3,
        "transfer_gb_per_s": nixl_bytes / nixl_s / 1e9 if nixl_s else 0.0,
        "handoff_gb_per_s": kv_bytes / handoff_ms / 1e6 if handoff_ms else 0.0,
        "memcpy_gb_per_s": memcpy_rate,
        "handoff_share_of_ttft": handoff_ms / ttft_ms,
    }


def moved(metrics_url: str) -> list[float]:
    """Bytes that NIXL has moved so far, and the seconds that took."""
    with urllib.request.urlopen(metrics_url, timeout=10) as page:
        return values(page.read().decode(), MOVED)


def values(page: str, names: Sequence[str]) -> list[float]:
    """The numbers of metrics without labels, from Prometheus' text."""
    found = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    return [float(found[name]) for name in names]


async def held(asker: Asker, decode_pid: int, prompt_tokens: int) -> dict[str, float]:
    """A request while the decode engine stands still: its first token must come all the same."""
    free = await asker.ask(prompt_tokens, 8)
    engines = [pid for pid in tree(decode_pid) if pid != decode_pid]
    signal_all(engines, signal.SIGSTOP)
    answer = Answer()
    asking = asyncio.create_task(asker.ask(prompt_tokens, 8, answer))
    try:
        await asyncio.sleep(HOLD_S + free.ttft_ms / 1e3)
        pieces_while_held = len(answer.arrivals_s)
    finally:
        signal_all(engines, signal.SIGCONT)
    stopped = await asking
    return {
        "prompt_tokens": prompt_tokens,
        "ttft_ms": free.ttft_ms,
        "ttft_ms_while_held": stopped.ttft_ms,
        "tokens_while_held": pieces_while_held,
        "second_gap_ms": free.second_gap_ms,
        "second_gap_ms_while_held": stopped.second_gap_ms,
    }


def signal_all(pids: list[int], number: int) -> None:
    """Stop or continue."""
    for pid in pids:
        os.kill(pid, number)


async def overlap(asker: Asker, plan: Plan) -> dict[str, float]:
    """A stream that decodes, alone and while others' KV comes in: what each handoff takes from it."""
    alone = await asker.ask(20, plan.background_tokens)
    watched = Answer()
    background = asyncio.create_task(asker.ask(20, BACKGROUND_TOKENS_MAX, watched))
    while len(watched.arrivals_s) < 20:
        await asyncio.sleep(0.005)
    begin = len(watched.arrivals_s)
    beside = [await asker.ask(plan.overlapped_prompt, 2) for _ in range(plan.overlapped)]
    end = len(watched.arrivals_s)
    times_s = watched.arrivals_s[begin:end]
    background.cancel()
    await asyncio.wait([background])
    gaps_ms = [(b - a) * 1e3 for a, b in pairwise(times_s)]
    usual_ms = sorted(alone.gaps_ms)[len(alone.gaps_ms) // 2]
    return {
        "handoffs": len(beside),
        "tokens_meanwhile": len(gaps_ms),
        "step_ms_alone": usual_ms,
        "step_ms_beside_handoffs": sorted(gaps_ms)[len(gaps_ms) // 2],
        "longest_step_ms_alone": max(alone.gaps_ms),
        "longest_step_ms_beside_handoffs": max(gaps_ms),
        "handoff_ms": middle(beside, lambda t: t.receipt["handoff_ms"]),
        **inside(times_s, [t.handoff_s for t in beside], usual_ms),
    }


def inside(
    times_s: Sequence[float], spans_s: Sequence[tuple[float, float]], usual_ms: float
) -> dict[str, float]:
    """Tokens that came in these spans, how many come alone in that time, and the longest wait for one."""
    counted = sum(begin < at < end for at in times_s for begin, end in spans_s)
    waits = (b - a for a, b in pairwise(times_s) if any(a < end and b > begin for begin, end in spans_s))
    return {
        "tokens_in_handoffs": counted,
        "tokens_alone_in_that_time": sum(end - begin for begin, end in spans_s) * 1e3 / usual_ms,
        "longest_step_ms_in_handoffs": max(waits, default=0.0) * 1e3,
    }


async def burst(asker: Asker, plan: Plan) -> dict[str, float]:
    """Prompts at once: if prefill waited for handoffs, they would take prefill plus handoff each."""
    alone = [await asker.ask(plan.overlapped_prompt, 2) for _ in range(3)]
    each_ms = middle(alone, lambda t: t.ttft_ms)
    together = await asyncio.gather(*(asker.ask(plan.overlapped_prompt, 2) for _ in range(plan.overlapped)))
    last_ms = max(t.ttft_ms for t in together)
    return {
        "prompts": plan.overlapped,
        "ttft_ms_alone": each_ms,
        "last_ttft_ms": last_ms,
        "last_ttft_ms_per_prompt": last_ms / plan.overlapped,
        "handoff_ms": middle(list(together), lambda t: t.receipt["handoff_ms"]),
    }
