"""What images and CI install: locked, hashed, and within pyproject.toml's ranges."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tidy.source import ROOT
from tools.locks import LOCKS, Lock

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
FROM_ELSEWHERE = {"torch"}
"""Not in the locks for CPUs: see locks/README.md."""


def pins_of(lock: Lock) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in PIN.findall(lock.path.read_text())}


def asked_by(lock: Lock) -> list[Requirement]:
    """What pyproject.toml asks of it."""
    if "pyproject.toml" not in lock.sources:
        return []
    extras = PYPROJECT["optional-dependencies"]
    texts = [*PYPROJECT["dependencies"], *(text for extra in lock.extras for text in extras[extra])]
    return list(map(Requirement, texts))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_fits_what_pyproject_asks_for(lock: Lock) -> None:
    pins = pins_of(lock)
    for wanted in asked_by(lock):
        name = canonicalize_name(wanted.name)
        if name in FROM_ELSEWHERE and lock.name in ("cpu", "full"):
            continue
        assert name in pins, f"{name} is not in {lock.path.name}: make locks KEEP=1"
        assert wanted.specifier.contains(pins[name], prereleases=True), (
            f"{lock.path.name} has {name} {pins[name]}, pyproject.toml asks for {wanted}: make locks KEEP=1"
        )


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_has_hashes_and_no_address(lock: Lock) -> None:
    text = lock.path.read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", "\n" + text)[1:]
    assert len(entries) == len(pins_of(lock))
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+==\S+.*\\\n    --hash=sha256:[0-9a-f]{64}", entry), entry[:80]
    assert "://" not in text


def test_images_install_nothing_that_is_not_locked() -> None:
    """But torch for CPUs, which is a version without a hash unless one is given."""
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    installs = re.findall(r"pip install ([^\\\n&]*)", dockerfile)
    assert len(installs) >= 7
    for told in installs:
        is_locked = "--require-hashes" in told and "--no-deps" in told
        is_own = told.split() == ["--no-deps", "--no-build-isolation", "."]
        assert is_locked or is_own or told.rstrip().endswith("-r torch.txt"), told


def test_what_the_image_copies_is_not_ignored() -> None:
    dockerfile, ignored = ((ROOT / name).read_text() for name in ("deploy/Dockerfile", ".dockerignore"))
    copied = {
        part for line in re.findall(r"^COPY (.*)$", dockerfile, re.MULTILINE) for part in line.split()[:-1]
    }
    assert copied <= {line[1:] for line in ignored.splitlines() if line.startswith("!")}


def test_images_from_elsewhere_are_named_once() -> None:
    named = dict(
        line.split("=", 1)
        for line in (ROOT / "deploy/images.env").read_text().splitlines()
        if line and not line.startswith("#")
    )
    tags = {name: image.split("@")[0] for name, image in named.items()}
    assert f"ARG PYTHON_IMAGE={tags['PYTHON_IMAGE']}\n" in (ROOT / "deploy/Dockerfile").read_text()
    compose = (ROOT / "deploy/compose.yaml").read_text()
    assert f"${{REDIS_IMAGE:-{tags['REDIS_IMAGE']}}}" in compose
    assert f"${{PYTHON_IMAGE:-{tags['PYTHON_IMAGE']}}}" in compose
    assert f"image: {tags['REDIS_IMAGE']}" in (ROOT / "deploy/helm/pdmesh/values.yaml").read_text()


@pytest.mark.parametrize(
    ("file", "words"), [("LICENSE", "Apache License"), ("SECURITY.md", "trusted for what")]
)
def test_licence_and_threat_model_are_there(file: str, words: str) -> None:
    assert words in Path(ROOT / file).read_text()
