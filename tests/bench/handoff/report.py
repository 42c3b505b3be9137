"""The figures as a page."""

from collections.abc import Mapping, Sequence
from typing import Any

Told = Mapping[str, Any]
HEAD = """\
# What a handoff costs

`{command}`. Real vLLM with NIXL between two processes on the CPU; {cpu}, {cores} cores, a prefill
worker on one and a decode worker on the other, with gateway, router and client on the same cores. Medians of
several prompts of each length, one after another, no two of which share a block. Transfer is what NIXL
says the copy took. Handoff is the receipt's, from the prefill worker's offer to the decode worker's word that
it has the KV: news to the router, orders to the decode worker, its wait for the next step, the transfer, and
news back. memcpy copies as many bytes with one core in the same run.
"""
FIRST_TOKEN = """\
{verdict} With the decode worker's engine stopped (SIGSTOP), so that nothing can be handed over, the first
token of a prompt of {prompt_tokens} came after {ttft_ms_while_held:.0f} ms (free: {ttft_ms:.0f} ms), and the
second {second_gap_ms_while_held:.0f} ms later, once the engine went on (free: {second_gap_ms:.1f} ms).
"""
WAITS, WAITS_NOT = "**The first token waits for the handoff.**", "The first token does not wait."
OVERLAP = """\
Beside {handoffs} handoffs of {handoff_ms:.1f} ms a stream on the same decode worker went on:
{tokens_meanwhile} tokens, a step of {step_ms_beside_handoffs:.1f} ms in the median against
{step_ms_alone:.1f} ms alone, the longest {longest_step_ms_beside_handoffs:.1f} ms against
{longest_step_ms_alone:.1f} ms.{inside}
"""
INSIDE = """ \
Between first and second tokens of the others, when their KV came in, it got {tokens_in_handoffs:.0f} tokens,
where as much time alone brings {tokens_alone_in_that_time:.0f}; the longest wait for one was
{longest_step_ms_in_handoffs:.1f} ms."""
BURST = """\
{prompts} prompts at once: the last first token came after {last_ttft_ms:.0f} ms,
{last_ttft_ms_per_prompt:.0f} ms for each, where one alone takes {ttft_ms_alone:.0f} ms; handoffs took
{handoff_ms:.1f} ms.
"""
COLUMNS = (
    "prompt, tokens", "KV, MB", "TTFT, ms", "prefill, ms", "handoff, ms", "of TTFT it would be",
    "transfer, ms", "transfer, GB/s", "memcpy, GB/s", "handoff, GB/s", "first to second token, ms",
    "later tokens, ms",
)  # fmt: skip


def page(told: Told) -> str:
    """A Markdown page."""
    parts = [HEAD.format(**told["machine"], command=told["command"])]
    parts += [f"{told['note']}\n"] if told.get("note") else []
    for name, found in told["models"].items():
        parts += [f"## {name}: {found['kv_token_bytes'] / 1024:.0f} KiB of KV per token\n"]
        parts += [table(found["by_size"]), first_token(found["held"])]
        parts += [overlap(found["overlap"]), BURST.format(**found["burst"])]
    return "\n".join(parts)


def table(rows: Sequence[Told]) -> str:
    """One line for each length."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS), *map(line, rows)]
    short = [row for row in rows if row["disaggregated"] < row["requests"]]
    lines += [f"\n{len(short)} lengths took the local path in part." if short else ""]
    return "\n".join([*lines, ""])


def line(row: Told) -> str:
    """One length."""
    cells = [
        str(row["prompt_tokens"]),
        f"{row['kv_bytes'] / 1e6:.1f}",
        f"{row['ttft_ms']:.0f}",
        f"{row['prefill_ms']:.0f}",
        f"{row['handoff_ms']:.1f}",
        f"{row['handoff_share_of_ttft']:.1%}",
        f"{row['transfer_ms']:.2f}",
        f"{row['transfer_gb_per_s']:.2f}",
        f"{row['memcpy_gb_per_s']:.2f}",
        f"{row['handoff_gb_per_s']:.2f}",
        f"{row['second_gap_ms']:.1f}",
        f"{row['later_gap_ms']:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def overlap(found: Told) -> str:
    """With decoding; older results do not say what came during the handoffs."""
    is_known = "tokens_in_handoffs" in found
    return OVERLAP.format(inside=INSIDE.format(**found) if is_known else "", **found)


def first_token(held: Told) -> str:
    """Whether it waits."""
    return FIRST_TOKEN.format(verdict=WAITS if held["tokens_while_held"] < 1 else WAITS_NOT, **held)
