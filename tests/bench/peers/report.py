"""The figures as a page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Told = Mapping[str, Any]
DIRECT, MESH, EDGE = "direct", "pdmesh", "pdmesh edge"
OWN = {MESH: ("gateway", "router"), EDGE: ("edge",)}
"""pdmesh's processes that stand where a peer stands; its workers stand for the engine."""
HEAD = """\
# pdmesh beside other gateways and routers

`{command}`. Chat completions, {prompt_tokens} prompt tokens, {output_tokens} tokens out, paced near 5 000
tokens a second; {cpu}, {cores} cores shared with engine and clients, Python {python}. The peers stand in
front of one fake engine over HTTP, pdmesh in front of its own simulated engine, one prefill and one decode
worker: as an edge, which is gateway and router in one process, as the peers are, and as two processes. pdmesh
tokenises prompts and makes text of tokens; the others pass both on. Independent: each stream ticks by itself.
Lock step: all streams tick at the same moment, as the sequences of an engine's batch do. A peer's figures are
those of its whole process tree.
"""
COSTS = (
    "CPU-seconds per million tokens (of pdmesh: gateway and router), and CPU-milliseconds per bare request"
)
TIMES = "Added to the engine alone, in ms: TTFT p50 / p99; and gap between tokens p50 / p99 as it was"


def page(told: Told) -> str:
    """A Markdown page."""
    head = HEAD.format(command=told["command"], **told["machine"], **told["cases"][0])
    parts = [head, *missing(told), f"{COSTS}:\n", costs(told), f"{TIMES}:\n", times(told), *trouble(told)]
    return "\n".join(parts)


def cost(row: Told, part: str = "load", figure: str = "cpu_s_per_million_tokens") -> float | None:
    """What stands between client and engine spent; None where it did not run."""
    if part not in row:
        return None
    spent: Mapping[str, float] = row[part][figure]
    if row["who"] in OWN:
        return sum(spent[name] for name in OWN[row["who"]])
    return spent["engine"] if row["who"] == DIRECT else spent[row["who"]]


def names(told: Told) -> list[str]:
    """Who took part, in the order of the run."""
    return list(dict.fromkeys(row["who"] for row in told["rows"]))


def row_of(told: Told, who: str, case: str) -> Told:
    """One row; empty but for its name where there is none."""
    found = (row for row in told["rows"] if (row["who"], row["case"]) == (who, case))
    return next(found, {"who": who, "case": case})


def title(told: Told, who: str) -> str:
    """A peer with its version."""
    peer = told["peers"].get(who)
    if peer is not None:
        return f"{who} {peer['version']} ({peer['language']})"
    return "the engine itself" if who == DIRECT else f"**{who}** (Python)"


def costs(told: Told) -> str:
    """One line for each who."""
    cases = [case["name"] for case in told["cases"]]
    lines = [
        [title(told, who), *(number(cost(row_of(told, who, case))) for case in cases), bare(told, who)]
        for who in names(told)
    ]
    return table(["", *cases, "bare request"], lines)


def bare(told: Told, who: str) -> str:
    """CPU-milliseconds of a bare request, the least where there are several."""
    found = (cost(row, "bare", "cpu_ms_per_request") for row in told["rows"] if row["who"] == who)
    values = [value for value in found if value is not None]
    return f"{min(values):.2f}" if values else "-"


def times(told: Told) -> str:
    """One line for each who."""
    cases = [case["name"] for case in told["cases"]]
    head = [column for case in cases for column in (f"{case}: TTFT", "gap")]
    lines = [
        [title(told, who), *(cell for case in cases for cell in time_cells(told, who, case))]
        for who in names(told)
    ]
    return table(["", *head], lines)


def time_cells(told: Told, who: str, case: str) -> tuple[str, str]:
    """Added TTFT, and gap."""
    row = row_of(told, who, case)
    least = alone_of(told, row)
    if "load" not in row or least is None:
        return "-", "-"
    load = row["load"]
    ttft = [load[name] - (0.0 if who == DIRECT else least[name]) for name in ("ttft_ms_p50", "ttft_ms_p99")]
    return " / ".join(map(number, ttft)), f"{number(load['gap_ms_p50'])} / {number(load['gap_ms_p99'])}"


def alone_of(told: Told, row: Told) -> Told | None:
    """What the engine alone gave in the run of this row."""
    found: Told | None = row.get("alone") or row_of(told, DIRECT, row["case"]).get("load")
    return found


def missing(told: Told) -> Iterator[str]:
    """Who could not take part, and why; and whatever was noted by hand."""
    for name, peer in told["peers"].items():
        if not peer["version"]:
            yield f"Not measured: {name}. {peer['reason']}.\n"
    if told.get("note"):
        yield f"{told['note']}\n"
    if told.get("added"):
        yield f"Measured in a run of their own, a little later: {', '.join(told['added'])}.\n"


def trouble(told: Told) -> Iterator[str]:
    """What failed, did not start, or could not keep up."""
    for row in told["rows"]:
        if "reason" in row:
            yield f"{row['who']} did not start for {row['case']}: {' '.join(row['reason'].split())[-200:]}\n"
            continue
        load, alone = row["load"], alone_of(told, row)
        failed = load["failed"] + row.get("bare", {"failed": 0})["failed"]
        if failed:
            yield f"{row['who']}, {row['case']}: {failed:.0f} requests failed.\n"
        if alone and load["tokens_per_s"] < 0.8 * alone["tokens_per_s"]:
            yield (
                f"{row['who']}, {row['case']}: saturated at {load['tokens_per_s']:.0f} tokens a second; "
                f"the engine alone gave {alone['tokens_per_s']:.0f}.\n"
            )


def number(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    rule = "|" + "---|" * len(head)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(line)} |" for line in lines), ""])
