"""What one placement decision costs in CPU time, by fleet size, with a million KV blocks in the prefix index.

python -m tests.bench.placement [--json FILE]

A decision is the path, the decode worker and the prefill worker of a request that the core has not seen
before; its prompt's blocks are hashed within it. `cached` prompts are in one prefill worker's cache to their
end, behind a beginning that all share, which is the longest walk; `new` ones are in nobody's cache.
"""

import argparse
import gc
import json
import platform
import random
import resource
import statistics
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path as File

from services.common.domain import (
    Capacity,
    Fingerprint,
    KvChange,
    LoadReport,
    Path,
    Receipt,
    Registration,
    Request,
    Role,
    Sampling,
)
from services.common.domain.tokens import tokens
from services.router.core.config import CoreConfig
from services.router.core.fleet import Fleet, Pool, Worker
from services.router.core.flight import Flight
from services.router.core.placement import Policies

RESULTS = File(__file__).parent / "results" / "placement.json"
FLEETS, PROMPTS = (10, 100, 1_000, 10_000), (500, 4_000)
BLOCKS, BLOCK_SIZE_TOKENS = 1_000_000, 16
SHARED_TOKENS, TEXT_TOKENS = 256, 4_096
RUNS, DECISIONS = 15, 100
SAMPLING = Sampling(max_tokens=200)


@dataclass(frozen=True, slots=True)
class Row:
    """One case."""

    workers: int
    prompt_tokens: int
    cached: bool
    decision_us: float
    """CPU time, the median of the runs."""
    reference_ratio: float
    """To `reference_loop`, timed between the same runs."""


class Mesh:
    """A fleet, its policies, and what its prefill workers have cached."""

    def __init__(self, workers: int) -> None:
        self.random = random.Random(workers)
        self.policies = Policies.of(CoreConfig(prefix_blocks_max=BLOCKS))
        self.pool = _pool(workers, self.random)
        self.texts: list[array[int]] = []
        self._names = count(1)
        self._fill()

    def _fill(self) -> None:
        shared = tokens(self.random.randrange(50_000) for _ in range(SHARED_TOKENS))
        cachers = [w for w in self.pool.workers.values() if w.role is Role.PREFILL]
        roots = {w.session: self._store(w, shared, b"") for w in cachers}
        while len(self.policies.index) + TEXT_TOKENS // BLOCK_SIZE_TOKENS <= BLOCKS:
            worker = cachers[len(self.texts) % len(cachers)]
            own = tokens(self.random.choices(range(50_000), k=TEXT_TOKENS - SHARED_TOKENS))
            self._store(worker, own, roots[worker.session])
            self.texts.append(shared + own)

    def _store(self, worker: Worker, ids: "array[int]", parent: bytes) -> bytes:
        names = tuple(next(self._names).to_bytes(8, "little") for _ in range(len(ids) // BLOCK_SIZE_TOKENS))
        self.policies.kv_changed(worker, [KvChange(names, parent, (), ids, BLOCK_SIZE_TOKENS)])
        return names[-1]

    def flights(self, prompt_tokens: int, number: int, *, cached: bool) -> Iterator[Flight]:
        """Requests, each with a prompt of its own."""
        for _ in range(number):
            prompt = self.random.choice(self.texts)[:prompt_tokens]
            if not cached:
                prompt[0] = 60_000
            request = Request("r", "m", prompt, SAMPLING)
            yield Flight(1, 1, request, self.pool, Receipt("r"), tokens(), 0.0)

    def decide(self, flight: Flight) -> None:
        """One decision, as the core makes it."""
        flight.path = self.policies.choose_path(flight).path
        decode = self.policies.pick_decode(flight, 0.0)
        assert decode is not None
        if flight.path is Path.DISAGGREGATED:
            assert self.policies.pick_prefill(flight, lambda w: w is not decode, 0.0) is not None


def _pool(workers: int, chance: random.Random) -> Pool:
    prints = Fingerprint("m", "d", "bf16", "bf16", BLOCK_SIZE_TOKENS, 1, "e", "1", "c")
    capacity = Capacity(1_000_000, 1_000, 256, 8_192, 32_768)
    fleet = Fleet(CoreConfig())
    for session in range(1, workers + 1):
        role = Role.PREFILL if session % 2 else Role.DECODE
        worker = Worker(session, Registration(f"w{session}", role, prints, capacity, can_replay=True), 0.0)
        worker.take(
            chance.randrange(1, 100), chance.randrange(500_000), chance.randrange(4_000) * session % 2
        )
        worker.load = LoadReport(step_ms=chance.uniform(5.0, 30.0))
        if session == 1:
            pool = fleet.attach(worker)
        pool.workers[session], worker.pool = worker, pool
    pool.recount()
    return pool


def reference_loop() -> int:
    """The yardstick: a thousand turns of the plainest loop."""
    total = 0
    for number in range(1_000):
        total += number
    return total


def cpu_us(call: Callable[[], object]) -> float:
    """CPU time of a call in microseconds."""
    began_ns = time.process_time_ns()
    call()
    return (time.process_time_ns() - began_ns) / 1e3


def measure(mesh: Mesh, workers: int, prompt_tokens: int, *, cached: bool) -> Row:
    """One case: the median over runs of a batch of decisions."""
    decisions, references = [], []
    for _ in range(RUNS):
        flights = list(mesh.flights(prompt_tokens, DECISIONS, cached=cached))
        decisions.append(cpu_us(lambda flights=flights: [mesh.decide(f) for f in flights]) / DECISIONS)
        references.append(cpu_us(lambda: [reference_loop() for _ in range(DECISIONS)]) / DECISIONS)
    median_us = statistics.median(decisions)
    ratio = median_us / statistics.median(references)
    return Row(workers, prompt_tokens, cached, round(median_us, 1), round(ratio, 2))


def rows() -> Iterator[Row]:
    """All cases."""
    for workers in FLEETS:
        mesh = Mesh(workers)
        gc.collect()
        gc.freeze()
        for prompt_tokens in PROMPTS:
            for cached in (False, True):
                yield measure(mesh, workers, prompt_tokens, cached=cached)
        del mesh
        gc.unfreeze()


def show(found: Sequence[Row]) -> None:
    """Print the table."""
    print(f"{'workers':>8} {'prompt':>7} {'':>7} {'us CPU':>8} {'x reference loop':>17}")
    for row in found:
        kind = "cached" if row.cached else "new"
        figures = f"{row.decision_us:8.1f} {row.reference_ratio:17.2f}"
        print(f"{row.workers:8} {row.prompt_tokens:7} {kind:>7} {figures}")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", type=File, default=RESULTS)
    arguments = parser.parse_args()
    found = list(rows())
    show(found)
    page = {
        "machine": {"cpu": platform.machine(), "python": platform.python_version()},
        "index_blocks": BLOCKS,
        "block_size_tokens": BLOCK_SIZE_TOKENS,
        "rss_mib_max": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "rows": [asdict(row) for row in found],
    }
    arguments.json.write_text(json.dumps(page, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
