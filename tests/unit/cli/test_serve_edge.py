"""The settings of a gateway and a router in one process."""

from pathlib import Path

import pytest

from services.cli.serve import parse_edge, run
from services.common.errors import BadSetting

GATEWAY = ["--model", "m"]


def test_each_has_its_own_flags() -> None:
    settings, told = parse_edge([*GATEWAY, "--port", "1", "--", "--port", "2", "--ready-fd", "7"])
    assert (settings.service.gateway.port, settings.service.router.port) == (1, 2)
    assert told["ready_fd"] == 7


def test_each_has_its_own_variables_and_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pdmesh.toml"
    file.write_text("[gateway]\nmodel = 'm'\nrouter = ['far:1']\n[router]\nqueue_requests_max = 3\n")
    monkeypatch.setenv("PDMESH_ROUTER_AGEING_MS", "4")
    for flag in (["--config", str(file)], [f"--config={file}"]):
        settings, _ = parse_edge(flag)
        router = settings.service.router
        assert (router.queue_requests_max, router.ageing_ms) == (3, 4)


def test_the_meshs_settings_are_those_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDMESH_GATEWAY_MESH_SECRET", "s" * 32)
    settings, _ = parse_edge(GATEWAY)
    assert settings.service.router.mesh.secret == "s" * 32
    monkeypatch.setenv("PDMESH_ROUTER_MESH_SECRET", "t" * 32)
    with pytest.raises(BadSetting, match="differ"):
        parse_edge(GATEWAY)


def test_what_belongs_to_the_process_is_said_once() -> None:
    level = ["--log-level", "error"]
    assert parse_edge([*GATEWAY, *level])[0].process.log_level == "error"
    assert parse_edge([*GATEWAY, *level, "--", *level])[0].process.log_level == "error"
    with pytest.raises(BadSetting, match="before the --: --log-level"):
        parse_edge([*GATEWAY, "--", *level])


def test_help_names_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["edge", "--help"]) == 0
    assert "pdmesh serve router --help" in capsys.readouterr().out
