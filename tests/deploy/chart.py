"""Rendering the Helm chart, as an operator would."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.tidy.source import ROOT

CHART = ROOT / "deploy/helm/pdmesh"
VALUES = ROOT / "deploy/helm/values"
Manifest = dict[str, Any]


class RenderFailed(Exception):
    """Helm has refused; the message is its own."""


def helm() -> str:
    """The program: from the same environment as Python, where the development tools bring it."""
    beside = Path(sys.executable).with_name("helm")
    found = str(beside) if beside.exists() else shutil.which("helm")
    assert found, "helm is missing: it comes with the development tools"
    return found


@cache
def render(values: str, *settings: str) -> tuple[Manifest, ...]:
    """All manifests of the chart with one of the values files (or none) and `--set` settings."""
    command = [helm(), "template", "test", str(CHART), "--namespace", "serving"]
    command += ["--values", str(VALUES / values)] if values else []
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RenderFailed(done.stderr)
    return tuple(document for document in yaml.safe_load_all(done.stdout) if document)


def of_kind(manifests: tuple[Manifest, ...], kind: str) -> dict[str, Manifest]:
    """Those of one kind, by the component that they belong to."""
    return {
        manifest["metadata"]["labels"]["app.kubernetes.io/component"]: manifest
        for manifest in manifests
        if manifest["kind"] == kind
    }


def pods(manifests: tuple[Manifest, ...]) -> dict[str, Manifest]:
    """Pod specifications by component."""
    found = of_kind(manifests, "Deployment") | of_kind(manifests, "StatefulSet")
    return {component: manifest["spec"]["template"]["spec"] for component, manifest in found.items()}
