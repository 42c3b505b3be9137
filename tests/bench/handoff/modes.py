"""Pull against push, and block sizes: `python -m tests.bench.handoff.modes`.

Writes tests/bench/results/handoff-modes.{json,md}.
"""

import asyncio
import json
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.__main__ import machine
from tests.bench.handoff.asking import Asker, middle
from tests.bench.handoff.measure import values
from tests.mesh.harness import Mesh
from tests.tidy.source import ROOT

RESULTS = ROOT / "tests" / "bench" / "results"
COMMAND = "python -m tests.bench.handoff.modes"
MODEL = ROOT / "models" / "demo"
START_S_MAX = 300.0
CASES = (("pull", 128), ("pull", 32), ("push", 128), ("push", 32))
PROMPTS = (256, 2_048)
REPEATS = 5
NIXL = ("pdmesh_worker_nixl_bytes", "pdmesh_worker_nixl_transfer_seconds", "pdmesh_worker_nixl_descriptors")
HEAD = """\
# Pull against push, and block sizes

`{command}`. Real vLLM with NIXL between two processes on the CPU; {cpu}, {cores} cores,
models/demo. Medians of {repeats} prompts, one after another. A descriptor is one piece of memory that
NIXL moves. Blocks that lie beside each other are one, as they do in a cache that has room; where no two do,
there is one for each block and region, so that larger blocks bound their number.
"""
COLUMNS = (
    "who moves", "block, tokens", "prompt, tokens", "KV, MB", "descriptors a handoff", "transfer, ms",
    "transfer, GB/s", "handoff, ms",
)  # fmt: skip


def run(mode: str, block: int, scratch: Path) -> list[dict[str, Any]]:
    """One mesh, all lengths."""
    scratch.mkdir()
    flags = ["--max-model-len", "4096", "--log-level", "warning", "--max-num-batched-tokens", "4096"]
    flags += ["--handoff-mode", mode, "--block-size", str(block)]
    with Mesh(MODEL, scratch, *flags, start_s_max=START_S_MAX) as mesh:
        print(f"{mode}, blocks of {block}: serves", file=sys.stderr, flush=True)
        return asyncio.run(measured(mesh, mode, block))


async def measured(mesh: Mesh, mode: str, block: int) -> list[dict[str, Any]]:
    """One row for each length; the first requests only make the pair known to each other."""
    vocabulary = int(json.loads((MODEL / "config.json").read_text())["vocab_size"])
    asker = Asker(mesh.url, MODEL.name, vocabulary)
    pages = [mesh.facts["metrics"][name] for name in ("prefill-1", "decode-1")]
    for length in PROMPTS:
        await asker.ask(length, 8)
    rows = []
    for length in PROMPTS:
        before = moved(pages)
        answers = [await asker.ask(length, 8) for _ in range(REPEATS)]
        size, seconds, descriptors = (b - a for a, b in zip(before, moved(pages), strict=True))
        rows.append(
            {
                "mode": mode,
                "block_tokens": block,
                "prompt_tokens": length,
                "disaggregated": sum(a.receipt["path"] == "disaggregated" for a in answers),
                "kv_bytes": size / REPEATS,
                "descriptors": descriptors / REPEATS,
                "transfer_ms": seconds / REPEATS * 1e3,
                "transfer_gb_per_s": size / seconds / 1e9 if seconds else 0.0,
                "handoff_ms": middle(answers, lambda told: told.receipt["handoff_ms"]),
            }
        )
    return rows


def moved(urls: Sequence[str]) -> list[float]:
    """What NIXL has moved so far on both workers together: whichever side moves, counts."""
    pages = []
    for url in urls:
        with urllib.request.urlopen(url, timeout=10) as page:
            pages.append(values(page.read().decode(), NIXL))
    return [sum(column) for column in zip(*pages, strict=True)]


def page(told: dict[str, Any]) -> str:
    """A Markdown page."""
    lines = [
        f"| {row['mode']} | {row['block_tokens']} | {row['prompt_tokens']} | {row['kv_bytes'] / 1e6:.1f} "
        f"| {row['descriptors']:.0f} | {row['transfer_ms']:.2f} | {row['transfer_gb_per_s']:.2f} "
        f"| {row['handoff_ms']:.1f} |"
        for row in told["rows"]
    ]
    head = HEAD.format(**told["machine"], command=told["command"], repeats=REPEATS)
    columns = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    return "\n".join([head, *columns, *lines, ""])


def main() -> None:
    """Entry point."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for mode, block in CASES:
            rows += run(mode, block, Path(scratch) / f"{mode}-{block}")
    told = {"command": COMMAND, "machine": machine(), "rows": rows}
    (RESULTS / "handoff-modes.json").write_text(json.dumps(told, indent=2) + "\n")
    (RESULTS / "handoff-modes.md").write_text(page(told))
    print(page(told))


if __name__ == "__main__":
    main()
