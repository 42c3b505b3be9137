"""What clients that stop reading cost the others: p99 of the time between tokens, with and without them.

python -m tests.bench.slow_clients [--slow 500] [--streams 32] [--rounds 3] [--json FILE]

A mesh of real processes with the sim engine. In each round the same streams are read thrice: alone, beside
clients that ask for long answers and read them, and beside as many that ask the same and never read. The last
fill the kernel's buffers, then wait in the gateway, paused, and are cut off, all within a round: each token
of this model is a long word. What they cost is told against both: against nobody, where the workers have less
to generate too, and against clients that read.
"""

import argparse
import dataclasses
import json
import re
import selectors
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tokenizers import Tokenizer

from tests.bench.__main__ import machine
from tests.bench.measure import Case, drive
from tests.mesh import model
from tests.mesh.harness import Mesh

RESULTS = Path(__file__).parent / "results" / "slow_clients.json"
WORD_CHARS = 2_000
STEP_MS = 100.0
OUTPUT_TOKENS = 350
"""35 s of reading, in which every client that does not read is cut off."""
RECEIVE_BUFFER_BYTES = 4_096
SETTLE_S = 2.0
ALONE, READERS, SLOW = WAYS = ("alone", "beside readers", "beside slow clients")


def build(directory: Path) -> Path:
    """A model whose words are long, so that a client that does not read shows within seconds."""
    model.build(directory)
    path = directory / "tokenizer.json"
    described = json.loads(path.read_text())
    vocabulary = described["model"]["vocab"]
    pad = "." * WORD_CHARS
    described["model"]["vocab"] = {
        name + pad if re.fullmatch(r"Ġw\d+", name) else name: number for name, number in vocabulary.items()
    }
    Tokenizer.from_str(json.dumps(described)).save(str(path))
    return directory


@contextmanager
def others(url: str, name: str, count: int, *, read: bool) -> Iterator[None]:
    """Clients that ask for a long stream, and read it or never do."""
    parts = urlsplit(url)
    body = {"model": name, "prompt": [7] * 16, "max_tokens": 10 * OUTPUT_TOKENS, "stream": True}
    data = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nhost: t\r\ncontent-length: {len(data)}\r\n\r\n"
    clients = []
    try:
        for _ in range(count):
            client = socket.socket()
            clients.append(client)
            if not read:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            client.connect((parts.hostname, parts.port))
            client.sendall(head.encode() + data)
        with reading(clients) if read else nullcontext():
            yield
    finally:
        for client in clients:
            client.close()


@contextmanager
def reading(clients: list[socket.socket]) -> Iterator[None]:
    """Throw away what comes, in a thread that has nothing else to do."""
    is_over = threading.Event()

    def drain() -> None:
        with selectors.DefaultSelector() as selector:
            for client in clients:
                selector.register(client, selectors.EVENT_READ, client)
            while not is_over.is_set():
                for key, _ in selector.select(0.1):
                    if not key.data.recv(1 << 16):
                        selector.unregister(key.data)

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def sample(url: str, name: str) -> float:
    """One metric of the gateway."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


def measure(mesh: Mesh, name: str, case: Case, beside: str, count: int) -> dict[str, Any]:
    """One reading, beside so many other clients."""
    cut = sample(mesh.url, "pdmesh_gateway_slow_readers_total")
    with others(mesh.url, name, 0 if beside == ALONE else count, read=beside == READERS):
        outcome = drive(mesh.url, name, case)
        cut = sample(mesh.url, "pdmesh_gateway_slow_readers_total") - cut
    time.sleep(SETTLE_S)
    return {"beside": beside, "cut_off": cut, **outcome}


def rounds(case: Case, slow: int, count: int) -> list[dict[str, Any]]:
    """Alternating, in another order each time, so that drift hits all."""
    sim = ("sequence-us=0", "prefill-tokens-per-s=0", "handoff-gb-per-s=0", "handoff-latency-ms=0")
    flags = [
        part for one in (*sim, "max-num-seqs=1024", "kv-blocks=262144") for part in ("--engine-arg", one)
    ]
    flags += ["--prefill-engine-arg", "step-ms=1", "--decode-engine-arg", f"step-ms={case.step_ms}"]
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        directory = build(Path(scratch) / "words")
        with Mesh(directory, Path(scratch), "--engine", "sim", "--log-level", "warning", *flags) as mesh:
            for number in range(count):
                turn = number % len(WAYS)
                for beside in (*WAYS[turn:], *WAYS[:turn]):
                    found.append(measure(mesh, directory.name, case, beside, slow))
                    print(json.dumps(found[-1]), flush=True)
    return found


def verdict(found: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over the rounds, and what the slow clients add to the others' p99."""

    def median(name: str, beside: str) -> float:
        return statistics.median(one[name] for one in found if one["beside"] == beside)

    p99 = {beside: median("gap_ms_p99", beside) for beside in WAYS}
    return {
        **{f"gap_ms_p50 {beside}": median("gap_ms_p50", beside) for beside in WAYS},
        **{f"gap_ms_p99 {beside}": value for beside, value in p99.items()},
        "p99 added to being alone": p99[SLOW] / p99[ALONE] - 1.0,
        "p99 added to clients that read": p99[SLOW] / p99[READERS] - 1.0,
    }


def main() -> int:
    """Entry point; exit code 1 when one of those that read got no whole answer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=RESULTS)
    asked = parser.parse_args()
    case = Case(asked.streams, STEP_MS, 16, OUTPUT_TOKENS, rounds=1)
    found = rounds(case, asked.slow, asked.rounds)
    summary = verdict(found)
    print(json.dumps(summary))
    written = {"machine": machine(), "case": dataclasses.asdict(case), "verdict": summary, "rounds": found}
    asked.json.write_text(json.dumps(written, indent=2) + "\n")
    return 1 if any(one["failed"] for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
