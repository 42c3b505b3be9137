"""Compare: `python -m tests.bench.peers [NAME ...] [--quick] [--install-only]`, or `make bench-peers`.

Every case, paced near 5 000 tokens a second, through every peer and through pdmesh, and to the engine
directly; then bare requests for one token. Writes tests/bench/results/peers.{json,md,png}. Exit code 1 when
one of pdmesh's requests failed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.bench.__main__ import machine
from tests.bench.peers.install import Installed, install
from tests.bench.peers.mesh import Running
from tests.bench.peers.peer import MODEL, PEERS, Peer
from tests.bench.peers.plot import draw
from tests.bench.peers.report import DIRECT, EDGE, MESH, OWN, page
from tests.bench.peers.targets import DidNotStart, direct, mesh_running, peer_running
from tests.bench.peers.tree import spent, tree_cpu_s, tree_rss_mib
from tests.mesh import model
from tests.tidy.source import ROOT

RESULTS = ROOT / "tests" / "bench" / "results"
COMMAND = "make bench-peers"
LOAD_S_MAX = 400
BARE_STREAMS = 16
SLOW = {peer.name for peer in PEERS if peer.is_slow}


@dataclass(frozen=True)
class Case:
    """One load and one pacing."""

    streams: int
    step_ms: float
    lock_step: bool
    rounds: int
    prompt_tokens: int = 500
    output_tokens: int = 200
    bare_rounds: int = 0
    """Requests for one token that each of 16 clients makes after the load."""

    @property
    def name(self) -> str:
        """As results call it."""
        return f"{self.streams} {'lock step' if self.lock_step else 'independent'}"

    @property
    def bare(self) -> "Case":
        """The requests for one token."""
        return Case(BARE_STREAMS, self.step_ms, self.lock_step, self.bare_rounds, self.prompt_tokens, 1)


PACED = (
    Case(64, 12.8, lock_step=False, rounds=3, bare_rounds=60),
    Case(64, 12.8, lock_step=True, rounds=3),
    Case(256, 51.2, lock_step=False, rounds=2),
    Case(256, 51.2, lock_step=True, rounds=2),
)
QUICK = tuple(Case(8, 5.0, lock_step, 1, 50, 20, bare_rounds=3) for lock_step in (False, True))

Start = Callable[[Case], AbstractContextManager[Running]]


def measure(running: Running, case: Case) -> dict[str, Any]:
    """The load's outcome, and what each process and its children spent meanwhile."""
    before = {name: tree_cpu_s(pid) for name, pid in running.pids.items()}
    outcome = drive(running.url, case)
    used = spent(before, {name: tree_cpu_s(pid) for name, pid in running.pids.items()})
    return outcome | {
        "cpu_s_per_million_tokens": {n: s / max(1, outcome["tokens"]) * 1e6 for n, s in used.items()},
        "cpu_ms_per_request": {n: s / max(1, outcome["requests"]) * 1e3 for n, s in used.items()},
        "rss_mib": {name: tree_rss_mib(pid) for name, pid in running.pids.items()},
    }


def drive(url: str, case: Case) -> dict[str, Any]:
    """Run the clients as a process; what they saw."""
    flags = {
        "--model": MODEL,
        "--streams": case.streams,
        "--rounds": case.rounds,
        "--prompt-tokens": case.prompt_tokens,
        "--output-tokens": case.output_tokens,
        "--spread-s": case.step_ms * case.output_tokens / 1e3,
    }
    command = [sys.executable, "-m", "tests.bench.peers.load", url]
    command += [str(part) for pair in flags.items() for part in pair]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=LOAD_S_MAX, check=True)
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def rows(starts: dict[str, Start], cases: tuple[Case, ...]) -> Iterator[dict[str, Any]]:
    """Case by case, so that those who are compared run close to each other."""
    for case in cases:
        for name, start in starts.items():
            row: dict[str, Any] = {"case": case.name, "who": name}
            asked = replace(case, rounds=1) if name in SLOW else case
            try:
                with start(asked) as running:
                    row["load"] = measure(running, asked)
                    if asked.bare_rounds:
                        row["bare"] = measure(running, asked.bare)
            except DidNotStart as error:
                row["reason"] = str(error)
            print(brief(row), file=sys.stderr, flush=True)
            yield row


def brief(row: dict[str, Any]) -> str:
    """One line for who watches."""
    if "reason" in row:
        return f"{row['case']:<16} {row['who']:<18} {row['reason'][-100:]}"
    load = row["load"]
    costs = {name: round(cost, 1) for name, cost in load["cpu_s_per_million_tokens"].items()}
    return (
        f"{row['case']:<16} {row['who']:<18} {load['failed']} failed, {load['tokens_per_s']:.0f}/s, {costs}"
    )


def starts_of(installed: dict[str, Installed], scratch: Path, *, with_mesh: bool) -> dict[str, Start]:
    """How to start each of those that can take part."""
    words = model.build(scratch / MODEL)

    def of(peer: Peer) -> Start:
        return lambda case: peer_running(peer, scratch, case.step_ms, lock_step=case.lock_step)

    def mesh(*, is_edge: bool) -> Start:
        return lambda case: mesh_running(
            words, scratch, case.step_ms, lock_step=case.lock_step, is_edge=is_edge
        )

    return {
        DIRECT: lambda case: direct(case.step_ms, lock_step=case.lock_step),
        **({EDGE: mesh(is_edge=True), MESH: mesh(is_edge=False)} if with_mesh else {}),
        **{peer.name: of(peer) for peer in PEERS if peer.name in installed and installed[peer.name].version},
    }


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="peers, and pdmesh; all of them where none is named")
    parser.add_argument("--quick", action="store_true", help="small cases, nothing is written")
    parser.add_argument("--add", action="store_true", help="put the named ones into the last run's results")
    parser.add_argument("--install-only", action="store_true", help="make the environments and stop")
    asked = parser.parse_args()
    chosen = [peer for peer in PEERS if not asked.names or peer.name in asked.names]
    with_mesh = not asked.names or MESH in asked.names
    installed = {peer.name: install(peer) for peer in chosen}
    print(json.dumps({name: asdict(found) for name, found in installed.items()}, indent=2), file=sys.stderr)
    if asked.install_only:
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        starts = starts_of(installed, Path(scratch), with_mesh=with_mesh)
        found = list(rows(starts, QUICK if asked.quick else PACED))
    told = {
        "command": COMMAND,
        "machine": machine(),
        "peers": {peer.name: {"language": peer.language, **asdict(installed[peer.name])} for peer in chosen},
        "cases": [asdict(case) | {"name": case.name} for case in (QUICK if asked.quick else PACED)],
        "rows": found,
    }
    if asked.add:
        told = added(json.loads((RESULTS / "peers.json").read_text()), told)
    print(page(told))
    if not asked.quick:
        keep(told)
    return 1 if any(row["who"] in OWN and row["load"]["failed"] for row in found) else 0


def added(last: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """The last run with some of its rows measured anew, each beside the engine alone as it was meanwhile."""
    alone = {row["case"]: row["load"] for row in told["rows"] if row["who"] == DIRECT}
    new = [row | {"alone": alone[row["case"]]} for row in told["rows"] if row["who"] != DIRECT]
    names = {row["who"] for row in new}
    return last | {
        "rows": [row for row in last["rows"] if row["who"] not in names] + new,
        "peers": last["peers"] | told["peers"],
        "added": sorted(names | set(last.get("added", ()))),
    }


def keep(told: dict[str, Any]) -> None:
    """Write figures, page and plot."""
    (RESULTS / "peers.json").write_text(json.dumps(told, indent=2) + "\n")
    (RESULTS / "peers.md").write_text(page(told))
    draw(RESULTS / "peers.png", told)


if __name__ == "__main__":
    sys.exit(main())
