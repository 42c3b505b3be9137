"""The file that tells other programs where the mesh is."""

import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from services.cli.child import Child
from services.common.errors import BadSetting

log = logging.getLogger("pdmesh.up")


def public_facts(children: Mapping[str, Child]) -> dict[str, str]:
    """What the process with the REST API says of itself; nothing while there is none."""
    child = children.get("gateway") or children.get("edge")
    return (child.facts if child is not None else None) or {}


def router_urls(children: Iterable[Child]) -> list[str]:
    """Where the routers are, whether they are processes of their own or have the gateway in theirs."""
    serving = [child.facts for child in children if child.spec.service in ("router", "edge") and child.facts]
    return [facts.get("router") or facts["url"] for facts in serving]


def metrics_urls(children: Mapping[str, Child]) -> dict[str, str]:
    """Where each process shows its metrics; a gateway does beside its API."""
    facts = {name: child.facts for name, child in children.items() if child.facts}
    beside = {name: f"{told['url']}/metrics" for name, told in facts.items() if name in ("gateway", "edge")}
    return beside | {name: told["metrics"] for name, told in facts.items() if "metrics" in told}


def replace_json(path: Path, content: object, flag: str) -> None:
    """Write a file in one step, so that a reader never sees half of it; what serves goes on if that fails."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(json.dumps(content, indent=2) + "\n")
        scratch.replace(path)
    except OSError as error:
        log.error("--%s: %s: %s", flag, path, error.strerror)


class ReadyFile:
    """JSON: `url` of the REST API, `grpc` of the gRPC API, `urls`, `metrics` and `pids` by process name, and
    `secret_file`.

    It exists while the mesh serves.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None

    def clear(self) -> None:
        """Remove it; raises `BadSetting` where no file could be written in its place."""
        if self._path is None:
            return
        if not self._path.parent.is_dir():
            raise BadSetting(f"--ready-file: {self._path.parent} is no directory")
        if self._path.is_dir():
            raise BadSetting(f"--ready-file: {self._path} is a directory")
        if not os.access(self._path.parent, os.W_OK | os.X_OK):
            raise BadSetting(f"--ready-file: {self._path.parent} cannot be written to")
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise BadSetting(f"--ready-file: {self._path}: {error.strerror}") from None

    def write(self, children: Mapping[str, Child], secret_file: str = "") -> None:
        """Replace it in one step, so that a reader never sees half of it.

        `secret_file` is where a mesh that made its own secret keeps it.
        """
        if self._path is None:
            return
        public, routers = public_facts(children), router_urls(children.values())
        urls = {name: (child.facts or {}).get("url", "") for name, child in children.items()}
        content = {
            "url": public.get("url", ""),
            "grpc": public.get("grpc", ""),
            "urls": {**urls, "router": routers[0]} if "edge" in urls and routers else urls,
            "metrics": metrics_urls(children),
            "pids": {name: child.pid for name, child in children.items()},
            "secret_file": secret_file,
        }
        replace_json(self._path, content, "ready-file")
