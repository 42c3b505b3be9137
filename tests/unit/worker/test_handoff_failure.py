"""Why KV did not come: one line with what to do."""

import errno

import pytest

from services.worker.engine.handoff_failure import stuck, transport_failed, unfit, unreachable

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "refused")


@pytest.mark.parametrize(
    ("host", "error", "kind", "remedy"),
    [
        ("127.0.0.1", REFUSED, "address", "--routers"),
        ("localhost", REFUSED, "address", "--routers"),
        ("::1", TimeoutError(), "address", "loopback"),
        ("10.0.0.1", REFUSED, "address", "--handoff-host"),
        ("10.0.0.1", OSError(errno.EHOSTUNREACH, "no route"), "address", "no route to 10.0.0.1:7"),
        ("fd00::1", OSError(errno.ENETUNREACH, "no route"), "address", "no route to [fd00::1]:7"),
        ("10.0.0.1", TimeoutError(), "firewall", "--side-channel-port"),
        ("no.such.name", OSError(-2, "unknown name"), "address", "unknown name"),
    ],
)
def test_an_address_that_does_not_answer(host: str, error: OSError, kind: str, remedy: str) -> None:
    said = unreachable(host, 7, error)
    assert said.startswith(f"{kind}: ")
    assert remedy in said
    assert "\n" not in said


def test_what_fails_after_the_address_has_answered() -> None:
    assert "UCX_TCP_PORT_RANGE" in stuck("10.0.0.1:7", 10.0)
    assert unfit("hashes differ").startswith("build: hashes differ; ")
    assert "UCX_NET_DEVICES" in transport_failed("nothing in common")
