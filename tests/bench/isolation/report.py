"""The study as a page."""

from collections.abc import Mapping
from typing import Any

from tests.bench.isolation.load import LENGTHS, LONG_SHARE
from tests.bench.isolation.verdict import NOISE, TPOT_FACTOR, TTFT_FACTOR, losses

Told = Mapping[str, Any]
HEAD = """\
# Prefill beside decode, or apart from it

`{command}`. Real vLLM on the CPU with {model}, {cpu}, {cores} cores, one worker on each, with gateway,
router and clients on the same cores. Poisson arrivals for {seconds:g} s at each rate, the same ones for each
shape: {long:.0%} long prompts ({long_prompt[0]}-{long_prompt[1]} tokens in, {long_out[0]}-{long_out[1]} out),
the rest chats ({chat_prompt[0]}-{chat_prompt[1]} in, {chat_out[0]}-{chat_out[1]} out). Chunked prefill is on
everywhere; prompts of up to 64 tokens are never handed over.

A request is good when its TTFT is within {ttft_ms:.0f} ms and its TPOT within {tpot_ms:.1f} ms:
{ttft_factor:g} times what a long prompt, and {tpot_factor:g} times what a token took on two idle monolithic
workers. Goodput is good requests per second of arrivals. A gap is the time between two pieces of text of one
answer. Others: the part of the machine that was used by whoever else was on it. One run; each rate is
{least_requests} to {most_requests} requests, so a p99 is about the worst of them.

The model is small, and still prefill matters as it does for large ones: alone, a long prompt runs for as
long as {steps:.0f} tokens of a chat take.
"""
COLUMNS = (
    ("TTFT p50 / p99, ms", "ttft_ms"),
    ("of chats", "chat_ttft_ms"),
    ("of long prompts", "long_ttft_ms"),
    ("TPOT p50 / p99, ms", "tpot_ms"),
    ("gap p50 / p99, ms", "gap_ms"),
)


def page(told: Told) -> str:
    """A Markdown page."""
    return "\n".join([head(told), table(told), sensitivity(told), where_it_loses(told)])


def head(told: Told) -> str:
    """What was done."""
    counts = [row["requests"] for row in first_rates(told).values()]
    (long_prompt, long_out), (chat_prompt, chat_out) = LENGTHS["long"], LENGTHS["chat"]
    return HEAD.format(
        **told["machine"],
        **told["promise"],
        command=told["command"],
        model=told["model"],
        seconds=told["seconds"],
        long=LONG_SHARE,
        long_prompt=long_prompt,
        long_out=long_out,
        chat_prompt=chat_prompt,
        chat_out=chat_out,
        ttft_factor=TTFT_FACTOR,
        tpot_factor=TPOT_FACTOR,
        steps=told["promise"]["ttft_ms"] / TTFT_FACTOR / (told["promise"]["tpot_ms"] / TPOT_FACTOR),
        least_requests=min(counts),
        most_requests=max(counts),
    )


def table(told: Told) -> str:
    """One line for each rate and shape."""
    names = ["requests/s", "shape", "goodput/s", "good", "failed"]
    names += [*(title for title, _ in COLUMNS), "others"]
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    for rate in told["rates"]:
        for shape, found in told["shapes"].items():
            lines.append(line(rate, shape, found["rates"][f"{rate:g}"]))
    return "\n".join([*lines, ""])


def line(rate: float, shape: str, row: Told) -> str:
    """One rate at one shape."""
    pairs = [f"{row[f'{name}_p50']:.1f} / {row[f'{name}_p99']:.1f}" for _, name in COLUMNS]
    good = [f"{row['goodput_per_s']:.2f}", f"{row['attainment']:.0%}"]
    others = f"{row['others_cpu_share']:.0%}"
    failed = ", ".join(f"{number} {error}" for error, number in row["errors"].items()) or "0"
    return f"| {' | '.join([f'{rate:g}', shape, *good, failed, *pairs, others])} |"


def sensitivity(told: Told) -> str:
    """How the share of good requests hangs on the promise."""
    factors = list(next(iter(first_rates(told).values()))["attainment_by_tpot_factor"])
    names = ["requests/s", "shape", *(f"{factor} x" for factor in factors)]
    lines = [
        "Good requests where the promise for TPOT is another multiple of an idle mesh's:\n",
        f"| {' | '.join(names)} |",
        "|" + "---|" * len(names),
    ]
    for rate in told["rates"]:
        for shape, found in told["shapes"].items():
            shares = found["rates"][f"{rate:g}"]["attainment_by_tpot_factor"].values()
            lines.append(f"| {' | '.join([f'{rate:g}', shape, *(f'{s:.0%}' for s in shares)])} |")
    return "\n".join([*lines, ""])


def first_rates(told: Told) -> Mapping[str, Any]:
    """Any shape's figures by rate."""
    rates: Mapping[str, Any] = next(iter(told["shapes"].values()))["rates"]
    return rates


def where_it_loses(told: Told) -> str:
    """Said whatever it says."""
    apart, *others = told["shapes"]
    by_rate = {
        name: {r: told["shapes"][name]["rates"][f"{r:g}"] for r in told["rates"]} for name in told["shapes"]
    }
    found = list(losses(by_rate[apart], {name: by_rate[name] for name in others}))
    lines = [
        "## Where disaggregation loses\n",
        f"Where {apart} is more than {NOISE:.0%} worse than the best of the others at the same rate:\n",
        *([f"- {one}" for one in found] or ["- none"]),
        "",
    ]
    return "\n".join(lines)
