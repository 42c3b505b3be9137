"""A whole mesh with everything on: HTTPS, keys, mutual TLS inside, a secret."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.common.credentials import KeyRecord, new_key
from tests.certificates import Authority
from tests.mesh.conftest import SIM
from tests.mesh.harness import Mesh, run_cli

SECRET = "known-to-the-mesh-alone"


@dataclass
class Secured:
    """The mesh, and what opens it."""

    mesh: Mesh
    key: str
    ca: str
    inside: list[str]
    """Flags of a member, without the secret."""


@pytest.fixture(scope="module")
def secured(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory, key = tmp_path_factory.mktemp("secured"), new_key()
    authority = Authority(directory)
    member, edge = authority.issue("member"), authority.issue("edge")
    tenants = directory / "tenants.toml"
    tenants.write_text(f'[tenants.acme]\nkeys = ["{KeyRecord.of(key)}"]\n')
    inside = ["--mesh-tls-cert", member.cert, "--mesh-tls-key", member.key]
    inside += ["--mesh-tls-ca", authority.certificate, "--mesh-mtls"]
    flags = ["--tenants", str(tenants), "--tls-cert", edge.cert, "--tls-key", edge.key, *inside]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PDMESH_UP_MESH_SECRET", SECRET)
        with Mesh(model_dir, directory, *SIM, *flags) as mesh:
            patch.delenv("PDMESH_UP_MESH_SECRET")
            yield Secured(mesh, key, authority.certificate, inside)


def test_a_question_with_a_key_is_answered_over_https(secured: Secured) -> None:
    url = secured.mesh.url
    assert url.startswith("https://")
    ask = ["chat", "w1 w2 w3", "--max-tokens", "4", "--url", url, "--tls-ca", secured.ca]
    answered = run_cli([*ask, "--api-key", secured.key])
    assert (answered.returncode, answered.stderr) == (0, "")
    assert answered.stdout.strip()
    refused = run_cli(ask)
    assert refused.returncode == 1
    assert "invalid_api_key" in refused.stderr


def test_an_operator_needs_certificate_and_secret(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["fleet", "--ready-file", str(secured.mesh.ready_file), *secured.inside]
    refused = run_cli(command)
    assert refused.returncode == 1
    assert "secret" in refused.stderr
    monkeypatch.setenv("PDMESH_OPERATOR_MESH_SECRET", SECRET)
    shown = run_cli(command)
    assert shown.returncode == 0, shown.stderr
    assert "decode-1" in shown.stdout
    assert run_cli(command[:3]).returncode == 2  # without a certificate


def test_the_secret_is_in_no_command_line_and_in_no_log(secured: Secured) -> None:
    for pid in secured.mesh.pids.values():
        assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    logs = secured.mesh.logs(lines=10_000)
    assert SECRET not in logs
    assert secured.key not in logs
