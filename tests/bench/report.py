"""The figures as a page."""

from collections.abc import Mapping, Sequence
from typing import Any

HEAD = """\
# What gateway and router cost

`make bench`. Sim engine, {prompt_tokens} prompt tokens, {output_tokens} tokens out, every stream paced by the
engine's step; {cpu}, {cores} cores shared with the load generator, Python {python}. The reference is one bare
asyncio process that writes the same events at the same pace, measured in the same run.
"""
COLUMNS = (
    "streams", "gateway", "router", "gateway + router", "workers", "reference",
    "gateway + router / reference",
    "bare request, ms CPU", "added TTFT p50 / p99, ms", "gap p50 / p99, ms", "reference gap p50 / p99, ms",
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
    ours = cpu["gateway"] + cpu["router"]
    least = reference["cpu_s_per_million_tokens"]["reference"]
    idle = row["idle_cpu_percent"]
    bare = row["bare_requests"]["cpu_ms_per_request"]
    cells = [
        str(row["case"]["streams"]),
        f"{cpu['gateway']:.1f}",
        f"{cpu['router']:.1f}",
        f"{ours:.1f}",
        f"{cpu['prefill-1'] + cpu['decode-1']:.1f}",
        f"{least:.1f}",
        f"{ours / least:.1f} x" if least else "-",
        f"{bare['gateway'] + bare['router']:.2f}",
        f"{added(row, 'ttft_ms_p50'):.1f} / {added(row, 'ttft_ms_p99'):.1f}",
        f"{mesh['gap_ms_p50']:.1f} / {mesh['gap_ms_p99']:.1f}",
        f"{reference['gap_ms_p50']:.1f} / {reference['gap_ms_p99']:.1f}",
        f"{idle['gateway']:.1f} / {idle['router']:.1f} / {idle['decode-1']:.1f}",
        f"{mesh['rss_mib']['gateway']:.0f} / {mesh['rss_mib']['router']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def added(row: Mapping[str, Any], name: str) -> float:
    """Milliseconds of the mesh above the reference."""
    return float(row["mesh"][name] - row["reference"][name])
