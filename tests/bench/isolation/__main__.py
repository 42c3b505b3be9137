"""The study: `python -m tests.bench.isolation [--quick]`, or `make bench-isolation`.

One prefill and one decode worker, two monolithic workers, and two monolithic workers with small chunks, one
after another behind the same gateway on the same two cores, under the same arrivals at several rates. Writes
tests/bench/results/isolation.{json,md,png}. Exit code 1 when an idle mesh fails a request.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.__main__ import machine
from tests.bench.isolation.load import CHAT, LONG, Arrival, Clients
from tests.bench.isolation.plot import draw
from tests.bench.isolation.quiet import Moment, others_share
from tests.bench.isolation.report import page
from tests.bench.isolation.verdict import TPOT_FACTOR, Promise, figures, promise, scaled
from tests.mesh.harness import Mesh
from tests.tidy.source import ROOT

RESULTS = ROOT / "tests" / "bench" / "results"
COMMAND = "make bench-isolation"
MODEL = ROOT / "models" / "demo"
START_S_MAX = 300.0
LOAD_S_MAX = 300.0
SEED = 11
OTHERS_SHARE_MAX = 0.10
IDLE_REQUESTS = 4
"""Of each kind, one after another, before the rates; two more of each before them warm the mesh up."""


@dataclass(frozen=True)
class Shape:
    """What stands behind the gateway."""

    name: str
    prefill: int
    decode: int
    chunk_tokens: int

    @property
    def flags(self) -> list[str]:
        """Of `pdmesh up`; a mesh without prefill workers takes the local path."""
        workers = ["--prefill", str(self.prefill), "--decode", str(self.decode)]
        sizes = ["--max-model-len", "4096", "--max-num-batched-tokens", str(self.chunk_tokens)]
        return [*workers, *sizes, "--enable-chunked-prefill", "--log-level", "warning"]


APART = Shape("1 prefill + 1 decode", 1, 1, 2_048)
BESIDE = Shape("2 monolithic", 0, 2, 2_048)
BESIDE_SMALL = Shape("2 monolithic, chunks of 256", 0, 2, 256)
SHAPES = (APART, BESIDE, BESIDE_SMALL)


@dataclass(frozen=True)
class Study:
    """How much of it."""

    rates: tuple[float, ...] = (1.0, 2.0, 3.0)
    seconds: float = 25.0
    shapes: tuple[Shape, ...] = SHAPES
    tries_max: int = 2
    """A rate is tried again when others used more of the machine than `OTHERS_SHARE_MAX`."""


QUICK = Study((1.0,), 5.0)


def run(shape: Shape, study: Study, scratch: Path) -> dict[str, Any]:
    """One shape: requests alone, then every rate; the clients' records."""
    scratch.mkdir()
    with Mesh(MODEL, scratch, *shape.flags, start_s_max=START_S_MAX) as mesh:
        idle = asyncio.run(alone(mesh.url))
        print(f"{shape.name}: serves", file=sys.stderr, flush=True)
        return {
            "idle": idle,
            "rates": {f"{rate:g}": undisturbed(mesh.url, rate, study) for rate in study.rates},
        }


async def alone(url: str) -> list[dict[str, Any]]:
    """Requests one after another; the first ones of each kind are not counted."""
    clients = Clients(url, MODEL.name, vocabulary())
    kinds = {LONG: Arrival(0.0, LONG, 2_000, 32), CHAT: Arrival(0.0, CHAT, 100, 100)}
    found = [await clients.ask(kinds[kind]) for _ in range(IDLE_REQUESTS + 2) for kind in (LONG, CHAT)]
    return found[4:]


def undisturbed(url: str, rate: float, study: Study) -> dict[str, Any]:
    """One rate, again where others used the machine; the least disturbed of the tries."""
    tries: list[dict[str, Any]] = []
    while len(tries) < study.tries_max and not any(one["others"] < OTHERS_SHARE_MAX for one in tries):
        before = Moment.now()
        records = drive(url, rate, study)
        others = others_share(before, Moment.now(), os.cpu_count() or 1)
        print(f"  {rate:g}/s: {len(records)} requests, others {others:.0%}", file=sys.stderr, flush=True)
        tries.append({"records": records, "others": others})
    return min(tries, key=lambda one: float(one["others"]))


def drive(url: str, rate: float, study: Study) -> list[dict[str, Any]]:
    """The clients as a process; their records."""
    flags = {"--rate": rate, "--seconds": study.seconds, "--vocabulary": vocabulary(), "--seed": SEED}
    command = [sys.executable, "-m", "tests.bench.isolation.load", url, "--model", MODEL.name]
    command += [str(part) for pair in flags.items() for part in pair]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=LOAD_S_MAX, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def vocabulary() -> int:
    """Token ids are below this."""
    return int(json.loads((MODEL / "config.json").read_text())["vocab_size"])


def judged(study: Study, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All figures; the promise is what two monolithic workers need when idle."""
    promised = scaled(promise(found[BESIDE.name]["idle"]))
    return {
        "command": COMMAND,
        "machine": machine(),
        "model": "models/demo (2.7 M parameters, bfloat16)",
        "seconds": study.seconds,
        "rates": list(study.rates),
        "promise": asdict(promised[TPOT_FACTOR]),
        "shapes": {name: shape_figures(one, study.seconds, promised) for name, one in found.items()},
    }


def shape_figures(one: dict[str, Any], seconds: float, promised: dict[float, Promise]) -> dict[str, Any]:
    """One shape's figures, idle and at each rate."""
    return {
        "idle": figures(one["idle"], 1.0, promised),
        "rates": {
            rate: {"others_cpu_share": told["others"], **figures(told["records"], seconds, promised)}
            for rate, told in one["rates"].items()
        },
    }


def again(last: dict[str, Any], shape: Shape, scratch: Path) -> dict[str, Any]:
    """The last results with one shape measured anew, under the same arrivals and promise."""
    study = Study(tuple(last["rates"]), last["seconds"], (shape,))
    promised = scaled(Promise(**last["promise"]))
    told = shape_figures(run(shape, study, scratch), study.seconds, promised)
    return last | {"shapes": last["shapes"] | {shape.name: told}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one rate for seconds, nothing is written")
    parser.add_argument("--again", type=int, help="measure the shape of this number, from 0, anew")
    parser.add_argument("--rates", type=float, nargs="+", help="requests per second")
    parser.add_argument("--seconds", type=float, help="of arrivals at each rate")
    parser.add_argument("--tries", type=int, default=2, help="at a rate, where others disturb it")
    asked = parser.parse_args(arguments)
    base = QUICK if asked.quick else Study()
    study = Study(tuple(asked.rates or base.rates), asked.seconds or base.seconds, tries_max=asked.tries)
    with tempfile.TemporaryDirectory() as scratch:
        if asked.again is None:
            found = {s.name: run(s, study, Path(scratch) / str(i)) for i, s in enumerate(study.shapes)}
            told = judged(study, found)
        else:
            last = json.loads((RESULTS / "isolation.json").read_text())
            told = again(last, SHAPES[asked.again], Path(scratch) / "again")
    print(page(told))
    if not asked.quick:
        (RESULTS / "isolation.json").write_text(json.dumps(told, indent=2) + "\n")
        (RESULTS / "isolation.md").write_text(page(told))
        draw(RESULTS / "isolation.png", told)
    return 1 if any(one["idle"]["failed"] for one in told["shapes"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
