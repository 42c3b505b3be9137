"""`pdmesh serve SERVICE --check`: what would prevent a start, and nothing else."""

import socket
from pathlib import Path

import pytest

from services.cli.main import main
from tests.certificates import Authority
from tests.tidy.source import ROOT

DEMO = str(ROOT / "models/demo")
MODEL = ["--model", DEMO]
AWAY = "redis://127.0.0.1:1/0"
SIM = ["--engine", "sim", "--model", DEMO]
FLAGS = {
    "gateway": [*MODEL, "--store", AWAY, "--redis-url", AWAY],
    "router": ["--store", AWAY, "--redis-url", AWAY],
    "edge": [*MODEL, "--store", AWAY, "--", "--store", AWAY],
    "prefill": SIM,
    "decode": SIM,
    "retriever": ["--store-file", ":memory:"],
}


@pytest.mark.parametrize("service", FLAGS)
def test_what_can_start_is_said_in_one_line(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", service, "--check", *FLAGS[service]]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (
        f"{service}: can start; settings, files and libraries are complete\n",
        "",
    )


def test_a_port_that_is_taken_is_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "router", "--check", "--port", port]) == 0
        assert main(["serve", "decode", "--check", "--port", port, *SIM]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("service", "flags", "reason"),
    [
        ("gateway", ["--model", "/none"], "model_missing: no such model directory: /none"),
        ("edge", ["--model", "/none"], "model_missing: no such model directory: /none"),
        ("gateway", [*MODEL, "--tenants", "/none.toml"], "bad_setting: tenants file /none.toml: "),
        ("gateway", [*MODEL, "--tenants", "redis"], "bad_setting: --tenants redis needs --store"),
        ("gateway", [*MODEL, "--models-file", "/none.toml"], "bad_setting: models file /none.toml: "),
        (
            "gateway",
            [*MODEL, "--jwt-jwks", "/none.json", "--jwt-issuer", "i", "--jwt-audience", "a"],
            "bad_setting: ",
        ),
        ("gateway", [*MODEL, "--price", "chat=many"], "bad_setting: --price"),
        ("gateway", [*MODEL, "--store", "redos://x"], "store_unavailable: 'redos://x'"),
        ("gateway", [*MODEL, "--store", AWAY, "--answers-secret", "short"], "bad_setting: --answers-secret"),
        ("gateway", [*MODEL, "--tls-cert", "/none.pem", "--tls-key", "/none.key"], "bad_setting: --tls-cert"),
        ("gateway", [*MODEL, "--modle", "x"], "bad_setting: unknown flag --modle"),
        ("router", ["--store", "redos://x"], "store_unavailable: 'redos://x'"),
        ("router", ["--redis-url", "redos://x"], "store_unavailable: 'redos://x'"),
        ("router", ["--mesh-secret", "short"], "bad_setting: --mesh-secret"),
        ("router", ["--mesh-tls-ca", "/none.pem"], "bad_setting: --mesh-tls-ca"),
        ("edge", [*MODEL, "--", "--store", "redos://x"], "store_unavailable: 'redos://x'"),
        ("prefill", ["--engine", "sim", "--model", "/none"], "model_missing: "),
        ("decode", [*SIM, "--engine-arg", "profil=x"], "bad_setting: "),
        ("decode", [*SIM, "--mesh-secret-file", "/none"], "bad_setting: --mesh-secret-file"),
        ("retriever", ["--embedder", "none:None"], "bad_setting: --embedder"),
    ],
)
def test_what_prevents_a_start_is_one_line_and_2(
    service: str, flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", service, "--check", *flags]) == 2
    printed = capsys.readouterr()
    (line,) = [line for line in printed.err.splitlines() if not line.startswith("warning: ")]
    assert printed.out == ""
    assert line.startswith(f"pdmesh: {reason}"), line


@pytest.mark.parametrize("service", ["gateway", "edge", "router", "prefill", "decode", "retriever"])
def test_a_key_of_another_certificate_is_found(
    service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")
    good = ["--mesh-tls-cert", one.cert, "--mesh-tls-key", one.key, "--mesh-tls-ca", authority.certificate]
    assert main(["serve", service, "--check", *good, *FLAGS[service]]) == 0
    bad = ["--mesh-tls-cert", one.cert, "--mesh-tls-key", other.key, "--mesh-tls-ca", authority.certificate]
    assert main(["serve", service, "--check", *bad, *FLAGS[service]]) == 2
    assert "KEY_VALUES_MISMATCH" in capsys.readouterr().err
