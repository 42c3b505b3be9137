"""Run it: `python -m tests.bench.handoff [--quick]`, or `make bench-handoff`.

Writes tests/bench/results/handoff.{json,md}. Exit code 1 when a first token waits for its handoff.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.__main__ import machine
from tests.bench.handoff import measure, model
from tests.bench.handoff.asking import Asker
from tests.bench.handoff.report import page
from tests.mesh.harness import Mesh
from tests.tidy.source import ROOT

RESULTS = ROOT / "tests" / "bench" / "results"
COMMAND = "make bench-handoff"
START_S_MAX = 300.0
KV_CACHE_BYTES = 1 << 30
DEMO = measure.Plan()
WIDE = measure.Plan((256, 1_024, 2_048), repeats=3, background_tokens=200, overlapped_prompt=512)
"""Its attention makes long prompts take seconds."""
QUICK = measure.Plan((256,), repeats=2, background_tokens=60, overlapped=2, overlapped_prompt=512)


def run(model_dir: Path, scratch: Path, plan: measure.Plan) -> dict[str, Any]:
    """All experiments on one model."""
    scratch.mkdir()
    flags = ["--prefill", "1", "--decode", "1", "--max-model-len", "4096", "--log-level", "warning"]
    flags += ["--max-num-batched-tokens", "4096", "--engine-arg", f"kv-cache-memory-bytes={KV_CACHE_BYTES}"]
    with Mesh(model_dir, scratch, *flags, start_s_max=START_S_MAX) as mesh:
        print(f"{model_dir.name}: serves", file=sys.stderr, flush=True)
        return asyncio.run(experiments(mesh, model_dir, mesh.facts["metrics"]["decode-1"], plan))


async def experiments(mesh: Mesh, model_dir: Path, metrics_url: str, plan: measure.Plan) -> dict[str, Any]:
    """One after another; the first requests only make the pair known to each other."""
    vocabulary = int(json.loads((model_dir / "config.json").read_text())["vocab_size"])
    asker = Asker(mesh.url, model_dir.name, vocabulary)
    for length in (*plan.prompts, 20):
        await asker.ask(length, 8)
    return {
        "kv_token_bytes": model.kv_token_bytes(model_dir),
        "by_size": await measure.by_size(asker, metrics_url, plan),
        "held": await measure.held(asker, mesh.pids["decode-1"], plan.overlapped_prompt),
        "overlap": await measure.overlap(asker, plan),
        "burst": await measure.burst(asker, plan),
    }


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few short prompts, nothing is written")
    is_quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as scratch:
        wide = model.build(Path(scratch) / "wide")
        models = {"models/demo": (ROOT / "models" / "demo", DEMO), "random weights": (wide, WIDE)}
        found = {
            name: run(one, Path(scratch) / f"mesh-{one.name}", QUICK if is_quick else plan)
            for name, (one, plan) in models.items()
        }
    told = {"command": COMMAND, "machine": machine(), "models": found}
    print(page(told))
    if not is_quick:
        (RESULTS / "handoff.json").write_text(json.dumps(told, indent=2) + "\n")
        (RESULTS / "handoff.md").write_text(page(told))
    return 1 if any(one["held"]["tokens_while_held"] < 1 for one in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
