"""One container of a rendered chart, checked as its image would: its command line, its environment."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tidy.source import ROOT

MODEL = ROOT / "models/demo"
FIELDS = {"metadata.name": "test-0", "status.podIP": "127.0.0.1"}
KEYS = {"secret": "s" * 32, "url": "redis://redis:6379/0", "token": "t"}
"""What stands in each key of the secrets that the chart reads."""


@dataclass(frozen=True)
class Answer:
    """What the process has said."""

    code: int
    said: str


def environment(container: dict[str, Any]) -> dict[str, str]:
    """The container's variables, as Kubernetes would fill them in."""
    found = {}
    for variable in container.get("env", []):
        source = variable.get("valueFrom", {})
        if field := source.get("fieldRef"):
            found[variable["name"]] = FIELDS[field["fieldPath"]]
        elif key := source.get("secretKeyRef"):
            found[variable["name"]] = KEYS[key["key"]]
        else:
            found[variable["name"]] = variable["value"]
    return found


def arguments(container: dict[str, Any], place: Path, replaced: dict[str, str]) -> list[str]:
    """The command line, with mounts below `place`, and other values of the flags that are `replaced`."""
    given = []
    for word in container["args"]:
        for name, value in environment(container).items():
            word = word.replace(f"$({name})", value)
        flag, is_flag, value = word.partition("=")
        if flag in replaced:
            word = f"{flag}={replaced[flag]}"
        elif is_flag and any(
            value.startswith(mount["mountPath"] + "/") or value == mount["mountPath"]
            for mount in container["volumeMounts"]
        ):
            word = f"{flag}={place}{value}"
        given.append(word)
    return given


def check(container: dict[str, Any], place: Path, replaced: dict[str, str]) -> Answer:
    """`pdmesh serve ... --check` with the demo model and the image's libraries."""
    serve, service, *flags = arguments(container, place, {"--model": str(MODEL), **replaced})
    command = [sys.executable, "-m", "tests.deploy.in_image", container["image"]]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PDMESH_")}
    done = subprocess.run(
        [*command, serve, service, "--check", *flags],
        env={**inherited, **environment(container), "PYTHONPATH": str(ROOT), "HOME": str(place)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
    )
    return Answer(done.returncode, done.stdout + done.stderr)
