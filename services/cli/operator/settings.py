"""Where the operator's commands find the router."""

import json
from dataclasses import dataclass
from pathlib import Path

from services.common.credentials import MeshSettings
from services.common.errors import BadSetting
from services.common.settings import group, setting

ROUTER = "127.0.0.1:9000"
"""Where a router listens unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """What all operator commands have in common."""

    router: str = setting("", f"Router to ask, HOST:PORT; {ROUTER} where neither this nor a file is given")
    ready_file: str = setting("", "File that `pdmesh up --ready-file` wrote, which names the router")
    timeout_ms: int = setting(5_000, "How long the router may take to answer", least=1)
    mesh: MeshSettings = group(MeshSettings, "mesh_")

    def __post_init__(self) -> None:
        if self.timeout_ms < 1:
            raise ValueError(f"--timeout-ms: {self.timeout_ms} is not at least 1")

    def address(self) -> str:
        """HOST:PORT of the router; raises `BadSetting` when the ready file is not one."""
        return self.router or (_named_in(Path(self.ready_file)) if self.ready_file else ROUTER)


def _named_in(file: Path) -> str:
    try:
        return str(json.loads(file.read_text())["urls"]["router"])
    except FileNotFoundError:
        raise BadSetting(f"--ready-file: no {file}, so no mesh serves that would have written it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadSetting(f"--ready-file: {file} names no router: {error!r}") from None
