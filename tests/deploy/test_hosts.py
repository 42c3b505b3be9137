"""compose.yaml and the systemd units: every flag and key is one that the command takes."""

import configparser
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.cli.serve import SERVED, parse
from tests.tidy.source import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


def read(arguments: list[str]) -> Any:
    serve, service, *flags = arguments
    assert serve == "serve"
    assert service in SERVED
    return parse(service, importlib.import_module(f"services.{service}.settings").Settings, flags)[0]


@pytest.mark.parametrize("name", sorted(set(COMPOSE["services"]) - {"redis", "secret"}))
def test_compose_flags(name: str) -> None:
    service = COMPOSE["services"][name]
    settings = read(service["command"])
    own = getattr(settings.service, "worker", settings.service)
    assert own.grace_ms < int(service["stop_grace_period"].rstrip("s")) * 1000
    assert service["read_only"]
    assert f"AS {service['build']['target']}" in DOCKERFILE


def test_compose_services_find_each_other() -> None:
    names = set(COMPOSE["services"])
    for service in COMPOSE["services"].values():
        assert set(service.get("depends_on", ())) <= names
        for flag in service["command"]:
            for host in re.findall(r"(?:router=|routers=|redis://)([a-z]+):", flag):
                assert host in names, flag


def unit(file: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(file)
    return parser


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.name)
def test_units(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDMESH_CONFIG", str(ROOT / "deploy/systemd/pdmesh.toml"))
    service = unit(file)["Service"]
    program, *arguments = service["ExecStart"].replace("%H", "host").replace("%i", "0").split()
    assert program.endswith("/pdmesh")
    settings = read(arguments)
    own = getattr(settings.service, "worker", settings.service)
    assert own.grace_ms < int(service["TimeoutStopSec"]) * 1000
    assert service["Restart"] == "always"
    assert own.model == "/var/lib/pdmesh/model" if hasattr(own, "model") else own.store


@pytest.mark.parametrize("target", ["light", "cpu", "cuda"])
def test_images_run_without_root(target: str) -> None:
    stage = DOCKERFILE.partition(f"AS {target}\n")[2].partition("\nFROM ")[0]
    assert "\nUSER 10001:10001\n" in stage
    assert stage.rstrip().endswith('ENTRYPOINT ["pdmesh"]')


def test_images_contain_what_they_copy() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for source in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in source.split():
            assert (ROOT / name).exists(), name
            assert f"!{name}" in ignored, name


def test_every_process_of_compose_shows_the_same_secret() -> None:
    services = COMPOSE["services"]
    assert services["secret"]["command"][:2] == ["key", "secret"]
    file = services["secret"]["command"][2]
    for name in set(services) - {"redis", "secret"}:
        assert f"--mesh-secret-file={file}" in services[name]["command"]
        assert services[name]["volumes"] == ["mesh:/run/pdmesh:ro"]
