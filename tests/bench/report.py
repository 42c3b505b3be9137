"""The figures as a page."""

from collections.abc import Mapping, Sequence
from typing import Any

HEAD = """\
# What gateway and router cost

`make bench`. Sim engine, {prompt_tokens} prompt tokens, {output_tokens} tokens out, 5 000 tokens/s by the
engines' steps; in the last two rows as many as the machine gives. {cpu}, {cores} cores shared by all
processes and the load generator, Python {python}. Streams of one decode worker step together. The reference
is one bare asyncio process that writes the same events at the same pace, measured in the same run; added is
what the mesh takes longer. Without the prefill worker: without the time from the router's word to it until
its answer, as receipts tell it, in requests of their own. An edge is gateway and router in one process.
"""
OWN = ("gateway", "router", "edge")
COLUMNS = (
    "streams", "decode workers", "tokens/s", "gateway", "router", "gateway + router", "workers", "reference",
    "gateway + router / reference", "load generator",
    "bare request, ms CPU", "added TTFT p50 / p99, ms", "p50 without the prefill worker, ms",
    "added gap p50 / p99, ms", "gap p50 / p99, ms",
    "idle gateway / router / worker, % of a core",
    "RSS gateway / router, MiB",
)  # fmt: skip


def table(machine: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown page; CPU columns are CPU-seconds per million tokens."""
    head = HEAD.format(**machine, **rows[0]["case"])
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS), *(line(row) for row in rows)]
    return "\n".join([head, "CPU columns without a unit are CPU-seconds per million tokens.\n", *lines, ""])


def line(row: Mapping[str, Any]) -> str:
    """One case."""
    mesh, reference = row["mesh"], row["reference"]
    cpu = mesh["cpu_s_per_million_tokens"]
    ours = own(cpu)
    least = reference["cpu_s_per_million_tokens"]["reference"]
    idle = row["idle_cpu_percent"]
    bare = row["bare_requests"]["cpu_ms_per_request"]
    cells = [
        str(row["case"]["streams"]),
        kind(row["case"]),
        f"{mesh['tokens'] / mesh['wall_s']:.0f}",
        of_each(cpu, 1, " | "),
        f"{ours:.1f}",
        f"{sum(cpu.values()) - ours:.1f}",
        f"{least:.1f}",
        f"{ours / least:.1f} x" if least else "-",
        f"{mesh['load_cpu_s'] / max(1, mesh['tokens']) * 1e6:.1f}",
        f"{own(bare):.2f}",
        f"{added(row, 'ttft_ms_p50'):.1f} / {added(row, 'ttft_ms_p99'):.1f}",
        f"{row['with_receipts']['rest_of_ttft_ms_p50'] - reference['ttft_ms_p50']:.1f}",
        f"{added(row, 'gap_ms_p50'):.1f} / {added(row, 'gap_ms_p99'):.1f}",
        f"{mesh['gap_ms_p50']:.1f} / {mesh['gap_ms_p99']:.1f}",
        f"{of_each(idle, 1)} / {idle['decode-1']:.1f}",
        of_each(mesh["rss_mib"], 0),
    ]
    return f"| {' | '.join(cells)} |"


def own(figures: Mapping[str, float]) -> float:
    """What gateway and router have of something together."""
    return sum(figures[name] for name in OWN if name in figures)


def of_each(figures: Mapping[str, float], digits: int, between: str = " / ") -> str:
    """Gateway and router, or the edge that is both."""
    if "edge" in figures:
        return f"{figures['edge']:.{digits}f}{between}(edge)"
    return between.join(f"{figures[name]:.{digits}f}" for name in ("gateway", "router"))


def kind(case: Mapping[str, Any]) -> str:
    """Decode workers, and what else tells a case from others with as many streams."""
    words = [str(case["decode_workers"])]
    words += [] if case["is_paced"] else ["saturated"]
    words += ["edge"] if case.get("is_edge") else []
    return ", ".join(words)


def added(row: Mapping[str, Any], name: str) -> float:
    """Milliseconds of the mesh above the reference."""
    return float(row["mesh"][name] - row["reference"][name])
