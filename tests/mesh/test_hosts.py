"""Two hosts: KV is handed over between them by default, whatever way workers know their router."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh import model
from tests.mesh.two_hosts import Hosts, two_hosts

ASKED = 3


@pytest.fixture(scope="module")
def cabled(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with two_hosts(model_dir, tmp_path_factory.mktemp("hosts")) as made:
        made.engine_flags = ("--engine", "sim")
        yield made


@pytest.fixture
def hosts(cabled: Hosts) -> Iterator[Hosts]:
    try:
        yield cabled
    finally:
        cabled.stop()


CASES = {
    "by its address": (("10.77.0.1", "10.77.0.1:9000", "10.77.0.1:9000"), "10.77.0.1"),
    "by its name": (("0.0.0.0", "router.mesh:9000", "router.mesh:9000"), "10.77.0.1"),
    "over IPv6": (("::", "[fd77::1]:9000", "[fd77::1]:9000"), "[fd77::1]"),
    "by different addresses": (("::", "[fd77::1]:9000", "10.77.0.1:9000"), "[fd77::1]"),
    "workers listen everywhere": (
        ("0.0.0.0", "10.77.0.1:9000", "10.77.0.1:9000", "--host", "0.0.0.0"),
        "10.77.0.1",
    ),
    "a worker listens on the other network": (
        ("0.0.0.0", "10.77.0.1:9000", "10.77.0.1:9000", "--host", "10.78.0.1"),
        "10.78.0.1",
    ),
    "a network for KV": (
        ("0.0.0.0", "127.0.0.1:9000", "10.77.0.1:9000", "--handoff-host", "10.78.0.1"),
        "10.78.0.1",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_handoff_goes_through(hosts: Hosts, case: str) -> None:
    flags, address = CASES[case]
    hosts.serve(*flags)
    assert f"KV is handed over at {address}:" in hosts.processes["prefill"].said
    for number in range(ASKED):
        prompt = [number + 1] * 300
        answer = hosts.ask(prompt)
        assert answer.text == model.expected_text(hosts.model_dir, prompt, 4)
        assert (answer.receipt["path"], answer.receipt["retries"]) == ("disaggregated", 0), answer.receipt
        assert answer.receipt["handoff_gb_per_s"] > 0
        assert answer.headers["x-pdmesh-path"] == "disaggregated"
