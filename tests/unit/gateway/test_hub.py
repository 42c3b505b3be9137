"""Names on the hub: a copy that is here already serves without a network, and a missing one is one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.gateway.models.rendering import model_directory
from tests.tidy.source import ROOT

RESOLVE = (
    "import sys; from services.gateway.models.rendering import model_directory; "
    "print(model_directory(sys.argv[1]))"
)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The hub's cache with one model, as its own library lays it out."""
    model = tmp_path / "models--org--name"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("abc")
    (model / "snapshots" / "abc").mkdir(parents=True)
    (model / "snapshots" / "abc" / "config.json").write_text("{}")
    return tmp_path


def resolve(model: str, cache: Path) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: the library reads its variables when it is imported."""
    environ = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "PATH": ""}
    command = [sys.executable, "-c", RESOLVE, model]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=50)


def test_a_name_is_the_copy_that_is_here(cache: Path) -> None:
    found = resolve("org/name", cache)
    assert found.stdout.strip() == str(cache / "models--org--name" / "snapshots" / "abc"), found.stderr


def test_a_name_without_a_copy_is_one_line(cache: Path) -> None:
    last = resolve("org/other", cache).stderr.strip().splitlines()[-1]
    assert "ModelMissing: org/other is no directory, and the hub does not give it: " in last


def test_a_directory_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert model_directory("org/name") == Path("org/name")
    assert model_directory("./absent/name") == Path("absent/name")
