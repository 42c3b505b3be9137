"""Real vLLM on two hosts: KV is handed over between them by default, token for token.

Each host has a bridge with the same address, as Docker makes them, and a network that leads nowhere: UCX must
not take those.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.references import Reference, prompt_of
from tests.e2e.restarts import Traffic, restart
from tests.e2e.vllm_reference import TOKENS
from tests.mesh.two_hosts import Hosts, two_hosts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

ROUTER = "10.77.0.1:9000"
START_S_MAX = 300.0
HANDED_OVER = (127, 128, 129, 600, 2000)
"""Lengths of prompts that take no local path."""


FLAGS = {"prefill": ("--cores", "0"), "decode": ("--cores", "1")}


@pytest.fixture(scope="module")
def hosts(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with two_hosts(model, tmp_path_factory.mktemp("hosts")) as made:
        for host, address in ((made.front, "10.99.0.1/24"), (made.back, "10.99.0.2/24")):
            host.add_dead_end("br0", "172.17.0.1/16")
            host.add_dead_end("aaa0", address)
        made.engine_flags = ("--dtype", "float32", "--max-model-len", "4096")
        made.start_s_max = START_S_MAX
        made.worker_flags = FLAGS
        made.serve("10.77.0.1", ROUTER, ROUTER)
        yield made


@pytest.mark.parametrize("length", HANDED_OVER)
def test_every_handoff_goes_through(hosts: Hosts, reference: Reference, length: int) -> None:
    prompt = prompt_of(length)
    answer = hosts.ask(prompt, TOKENS)
    assert (answer.receipt["path"], answer.receipt["retries"]) == ("disaggregated", 0), answer.receipt
    assert answer.headers["x-pdmesh-path"] == "disaggregated"
    assert answer.receipt["kv_size_bytes"] > 0
    assert answer.token_ids == reference[tuple(prompt)]


def test_the_doctor_says_where_by_what_and_how_fast(hosts: Hosts) -> None:
    doctor = hosts.back.cli("doctor", "--router", ROUTER)
    line = next(line for line in doctor.stdout.splitlines() if "prefill -> decode" in line)
    assert (doctor.returncode, line[:2]) == (0, "ok"), doctor.stdout
    said = re.search(r"nixl \S+ at 10\.77\.0\.1:\d+, (\w+) \((\S+)\), .* the pull \S+ ms at \S+ GB/s", line)
    assert said is not None, line
    # Both hosts are one machine, which UCX notices: it may copy from process to process.
    assert said.group(1, 2) in {("shm", "cma/memory"), ("tcp", "tcp/lan0")}


def test_restarts_leave_no_scars(hosts: Hosts, reference: Reference) -> None:
    """With one decode worker requests go on without the prefill worker alone; more of them, and both:
    `python -m tests.e2e.restarts`."""
    with Traffic(hosts, reference) as traffic:
        print(restart(hosts, "prefill", ROUTER))
    assert traffic.wrong == []
    print(restart(hosts, "decode", ROUTER))
    prompt = prompt_of(600)
    answer = hosts.ask(prompt, TOKENS)
    assert (answer.receipt["path"], answer.receipt["retries"]) == ("disaggregated", 0), answer.receipt
    assert answer.token_ids == reference[tuple(prompt)]
