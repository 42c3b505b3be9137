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


REFUSED = {
    "loopback": (("--handoff-host", "127.0.0.1"), "address: 127.0.0.1:", "--routers"),
    "firewall": (("--handoff-host", "10.78.0.1"), "firewall: 10.78.0.1:", "--side-channel-port"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_pair_that_cannot_hand_over_is_refused_before_traffic(hosts: Hosts, case: str) -> None:
    flags, why, remedy = REFUSED[case]
    hosts.back.lose_packets_to("10.78.0.1", "lan1")
    try:
        hosts.serve("0.0.0.0", "10.77.0.1:9000", "10.77.0.1:9000", *flags)
        hosts.processes["router"].wait_for(f"KV cannot be handed over.*prefill -> decode.*{why}")
        answer = hosts.ask([7] * 300)
        assert (answer.receipt["path"], answer.receipt["path_reason"]) == ("local", "pair_refused")
        assert (answer.receipt["retries"], answer.headers["x-pdmesh-path"]) == (0, "local")
        doctor = hosts.back.cli("doctor", "--router", "10.77.0.1:9000")
        line = next(line for line in doctor.stdout.splitlines() if "prefill -> decode" in line)
        assert (doctor.returncode, line[:5]) == (1, "WRONG")
        assert why in line
        assert remedy in line
    finally:
        hosts.back.lose_no_packets_to("10.78.0.1", "lan1")


def test_a_refused_pair_is_taken_once_the_firewall_is_open(hosts: Hosts) -> None:
    hosts.back.lose_packets_to("10.78.0.1", "lan1")
    try:
        hosts.serve("0.0.0.0", "10.77.0.1:9000", "10.77.0.1:9000", "--handoff-host", "10.78.0.1")
        hosts.processes["router"].wait_for("KV cannot be handed over")
    finally:
        hosts.back.lose_no_packets_to("10.78.0.1", "lan1")
    hosts.back.cli("forgive", "--router", "10.77.0.1:9000")
    answer = hosts.ask([8] * 300)
    assert (answer.receipt["path"], answer.receipt["retries"]) == ("disaggregated", 0)
    doctor = hosts.back.cli("doctor", "--router", "10.77.0.1:9000")
    assert "sim-tcp at 10.78.0.1:" in doctor.stdout
    assert ", tcp, " in doctor.stdout
