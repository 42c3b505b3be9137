"""The secret that `pdmesh up` makes for its mesh, and where operators' commands of the same user find it."""

import os
import secrets
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from services.common.credentials import MeshSettings, Security
from services.common.files import write_private

SECRET_BYTES = 32


def new_secret() -> str:
    """A random one, of plain characters."""
    return secrets.token_urlsafe(SECRET_BYTES)


def runtime_directory() -> Path:
    """Where a user's processes leave what is for that user alone."""
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"pdmesh-{os.getuid()}"


class SecretFiles:
    """One file for each router of a mesh, named by its address; they exist while the mesh does."""

    def __init__(self, secret: str, routers: Sequence[str]) -> None:
        self._secret = secret
        self._paths = [_path(router) for router in routers]

    @property
    def path(self) -> str:
        """Of the first router's file; "" where there is none."""
        return next((str(path) for path in self._paths if path.exists()), "")

    def write(self) -> None:
        """Replace what is there; raises OSError where the directory is not this user's alone."""
        for path in self._paths:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            if not _is_own(path.parent):
                raise PermissionError(f"{path.parent} is not a directory of this user's alone")
            path.unlink(missing_ok=True)
            write_private(path, self._secret + "\n")

    def remove(self) -> None:
        """Once the mesh has ended."""
        for path in self._paths:
            path.unlink(missing_ok=True)


def security_for(settings: MeshSettings, router: str) -> Security:
    """What a command shows this router: the secret that it was given, else that of a mesh on this host.

    Raises `BadSetting`.
    """
    path = _path(router)
    if not (settings.secret or settings.secret_file) and _is_own(path.parent) and path.exists():
        settings = replace(settings, secret_file=str(path))
    return settings.security()


def _path(router: str) -> Path:
    return runtime_directory() / f"{router.replace('/', '_')}.secret"


def _is_own(directory: Path) -> bool:
    try:
        status = directory.lstat()
    except OSError:
        return False
    is_private = not stat.S_IMODE(status.st_mode) & 0o077
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and is_private
